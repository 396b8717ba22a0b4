"""Servers: the side of the RemoteEngine that runs in its event loop.

Finds out what the servers are, gives them jobs, tries a job once more where nothing was written
yet, and asks those that failed again. Which server is asked is fleet's, how is dialects'.
"""

import asyncio
import logging
from pathlib import PurePath
from typing import cast

from assistant.engine.prefix import common_prefix
from assistant.engine.protocol import Request
from assistant.engine.remote.completions import Completions
from assistant.engine.remote.dialects import Dialect
from assistant.engine.remote.find import find_kind
from assistant.engine.remote.fleet import Endpoint, choose_endpoint
from assistant.engine.remote.http import Fault, Silence, make_client, patience
from assistant.engine.remote.job import Job
from assistant.engine.remote.model import RemoteModel, find_model
from assistant.engine.remote.read import read_reply
from assistant.errors import AssistantError, EngineError, RequestError, SettingsError
from assistant.sampling import Sampling
from assistant.settings import Settings
from assistant.text import quoted

log = logging.getLogger(__name__)

PAUSE_S, PAUSE_MAX_S = 1, 60  # before a server that failed is asked again; doubled each time
FAILED = "The model's server could not be read; what went wrong is in the program's log."


class Servers:
    """Those at `settings.endpoint`. After open(): model is a RemoteModel, window the number of
    positions, limitations what not all of them can do (see dialects)."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        key = settings.endpoint_key
        self.endpoints = [Endpoint(make_client(url, key)) for url in settings.endpoint]
        # Prefixes that many prompts have: the templates' preambles.
        self.shared: list[tuple[int, ...]] = []
        self.model: RemoteModel
        self.window = 0
        self.limitations: dict[str, str] = {}
        self._opened = False
        self._name: str | None = None  # of the model, without its owner
        self._revivals: set[asyncio.Task[None]] = set()
        self._unusable: SettingsError | None = None

    async def open(self) -> None:
        """Meets them all. One that does not answer is asked again later. Raises StartError where
        none answers, or where they cannot be used."""
        first: tuple[Endpoint, Fault] | None = None
        for endpoint in self.endpoints:
            try:
                await self._meet(endpoint)
            except Fault as fault:
                log.warning("%s: %s", endpoint.client.base_url, fault)
                first = first or (endpoint, fault)
            except AssistantError as error:
                raise _start_error(endpoint, error) from error
        if first and not any(endpoint.kind for endpoint in self.endpoints):
            raise _start_error(first[0], first[1].error) from first[1]
        self._opened = True
        for endpoint in self.endpoints:
            if not endpoint.kind:
                self._leave_out(endpoint)

    async def run(self, job: Job) -> None:
        """Have some server do `job`. However it ends, its reader hears of it."""
        try:
            await self._run(job)
        except AssistantError as error:
            job.out.put(error)
        except Exception:
            log.exception("a reply could not be read")
            job.out.put(EngineError(FAILED))

    async def close(self) -> None:
        for endpoint in self.endpoints:
            await endpoint.client.aclose()

    # -- what they are -----------------------------------------------------------------------------

    async def _meet(self, endpoint: Endpoint) -> None:
        """Finds out what an endpoint is, and has it write a token. Raises Fault, AssistantError."""
        kind, make_tokenizer = await find_kind(endpoint.client, self._settings)
        if self._name is None:
            self.model = await asyncio.to_thread(find_model, kind, self._settings, make_tokenizer)
            self._name = PurePath(kind.model).name
        if PurePath(kind.model).name != self._name:
            raise SettingsError(
                f"It has the model {quoted(kind.model)}, and another one {quoted(self._name)}: all "
                "must have the same."
            )
        window = kind.window or self.model.window
        if window is None:
            raise SettingsError(
                "It does not say how long its model's window is, and no files of the model do: "
                "give the model's folder or its hub id with --model."
            )
        async with patience():
            await self._try(endpoint, kind)
        if self._opened and (window < self.window or set(kind.limitations) - set(self.limitations)):
            raise SettingsError("It can do less than those that were there at the start.")
        if not self._opened:
            self.window = min(window, self.window or window)
            self.limitations |= kind.limitations
        endpoint.kind, endpoint.failed = kind, False

    async def _try(self, endpoint: Endpoint, kind: Dialect) -> None:
        """One token. A server that refuses a prompt of ids is given text from then on."""
        eos = self.model.tokenizer.eos_id
        job = Job(Request((eos,), Sampling(temperature=0, seed=0), 1))
        if kind.takes_ids:
            try:
                return await self._read(job, endpoint, kind)
            except (RequestError, EngineError):
                if type(kind) is not Completions:
                    raise
                kind.takes_ids = False
        job.text = self.model.tokenizer.decode(job.request.ids)
        await self._read(job, endpoint, kind)

    def _leave_out(self, endpoint: Endpoint) -> None:
        if not endpoint.failed:
            endpoint.failed = True
            task = asyncio.create_task(self._revive(endpoint))
            self._revivals.add(task)  # the loop itself would let it be collected
            task.add_done_callback(self._revivals.discard)

    async def _revive(self, endpoint: Endpoint) -> None:
        """Asks again, less and less often, until it answers."""
        pause = PAUSE_S
        while endpoint.failed:
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX_S)
            try:
                await self._meet(endpoint)
            except Exception as error:  # whatever it is, the others go on
                if isinstance(error, SettingsError):  # it is another one now
                    endpoint.kind, self._unusable = None, error
                log.info("%s is still left out: %s", endpoint.client.base_url, error)
        endpoint.recent.clear()
        log.warning("%s is back", endpoint.client.base_url)

    # -- a job -------------------------------------------------------------------------------------

    async def _run(self, job: Job) -> None:
        ids = job.request.ids
        shared = max((common_prefix(prefix, ids) for prefix in self.shared), default=0)
        failed = None
        while True:
            if not any(endpoint.kind for endpoint in self.endpoints):
                raise EngineError(f"The model's server cannot be used any more: {self._unusable}")
            endpoint = choose_endpoint(self.endpoints, ids, shared, avoid=failed)
            endpoint.begin(ids)
            try:
                return await self._read(job, endpoint, cast(Dialect, endpoint.kind))
            except Fault as fault:
                log.warning("%s: %s", endpoint.client.base_url, fault)
                if fault.failed and (job.first_token_at or not isinstance(fault, Silence)):
                    self._leave_out(endpoint)
                once = failed is not None
                only = not fault.again and len(self.endpoints) == 1
                if once or only or job.first_token_at:
                    raise fault.error from fault
                failed = endpoint
            finally:
                endpoint.busy -= 1

    async def _read(self, job: Job, endpoint: Endpoint, kind: Dialect) -> None:
        await read_reply(endpoint.client, kind, job, len(self.model.tokenizer))


def _start_error(endpoint: Endpoint, error: Exception) -> SettingsError:
    return SettingsError(f"--endpoint {endpoint.client.base_url}: {error}")
