"""A scripted engine: the Engine and Stream protocols without weights, for all tests above engine/.

    engine = FakeEngine("Hello.")                      # every request gets this reply
    engine = FakeEngine(["One.", "Two."])              # a reply for each request, the last repeated
    engine = FakeEngine(lambda request: [...])         # a script that depends on the request

A script is a reply as text (one byte is one token, one token is one Piece), or a list of: text;
bytes (one token each, so that a character can be cut); an int (a token id, such as a special
token's); a tuple of ints (tokens that come as one Piece); an exception (raised there); a
threading.Event (nothing new until it is set); a float (nothing new for so many seconds).
After the script the model writes its end-of-text token. Log-probabilities are made up, see
`logprob`.
"""

import codecs
import threading
import time

from assistant.engine.prefix import common_prefix
from assistant.engine.protocol import Finished, Logprob, Piece, Reason, Request, Status, Waiting
from assistant.engine.tokenizer import BPETokenizer
from assistant.errors import EngineBusy, EngineDead, WindowError

SPECIAL = ("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>")
REPLIES = ({str}, {list}, {str, list})  # what a list of replies is made of
STARCHAT = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


class ByteTokenizer:
    """One token for each byte, after the special tokens. eos is the first of these. bos: the text
    of that which stands before a document."""

    _opens_blank = False
    chat = None

    def __init__(self, special=SPECIAL, bos=None):
        self.special = {text: index for index, text in enumerate(special)}
        self.eos_id, self.end_ids = 0, frozenset({0})
        self.bos_id = self.special[bos] if bos else None
        self._spelt = {index: text.encode() for text, index in self.special.items()}

    def __len__(self):
        return len(self.special) + 256

    def encode(self, text, *, trusted=False, start=False):
        ids = []
        while text:
            starts = [(text.find(spelt), spelt) for spelt in self.special if spelt in text]
            at, spelt = min(starts, default=(len(text), "")) if trusted else (len(text), "")
            ids += [byte + len(self.special) for byte in text[:at].encode()]
            ids += [self.special[spelt]] if spelt else []
            text = text[at + len(spelt) :]
        return ids

    def bytes(self, ids):
        count = len(self.special)
        return b"".join(self._spelt[i] if i < count else bytes([i - count]) for i in ids)

    def decode(self, ids):
        return self.bytes(ids).decode(errors="replace")

    texts = BPETokenizer.texts

    def decoder(self):
        return _Decoder(self)


class _Decoder:
    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, ids):
        return self._utf8.decode(self._tokenizer.bytes(ids))

    def flush(self):
        return self._utf8.decode(b"", final=True)


class FakeEngine:
    """See the module's docstring. A request runs in one of `slots` slots, `queue` more may wait;
    it goes on only while its stream is read.

    requests: all that were submitted. pinned: the prefixes. cancelled: how many streams were
    closed before their end. dead: set it to a sentence, and nothing is served any more.
    """

    model = "fake"
    revision: str | None = None
    adapter: str | None = None
    numerics: str | None = None
    limitations: dict[str, str] = {}

    def __init__(
        self,
        script="Hello.",
        *,
        window=8192,
        slots=8,
        queue=64,
        special=SPECIAL,
        bos=None,
        embedded=True,
    ):
        self.script = script
        self.window, self.slots, self.queue, self.embedded = window, slots, queue, embedded
        self.tokenizer = ByteTokenizer(special, bos)
        self.requests, self.pinned, self.cancelled, self.dead = [], [], 0, None
        self.computed = []  # all prompts with their replies: what a KV cache would hold
        self.lock = threading.RLock()
        self.active = []  # open streams; the first `slots` of them run
        self._closed = False

    def generate(self, request: Request, *, wait_s: float = 0.1) -> "FakeStream":
        prompt = len(request.ids)
        assert prompt and request.max_new_tokens >= (0 if request.prompt_logprobs else 1)
        assert (request.logprobs or 1) in range(1, 21)
        assert (request.prompt_logprobs or 1) in range(1, 21)
        if prompt + request.max_new_tokens > self.window:
            raise WindowError(f"{prompt} + {request.max_new_tokens} is above {self.window}.")
        with self.lock:
            self.check_room()
            self.requests.append(request)
            stream = FakeStream(self, request, self._script(request), wait_s)
            self.active.append(stream)
        return stream

    def check_room(self) -> None:
        if self.dead or self._closed:
            raise EngineDead(self.dead or "The engine is closed.")
        if len(self.active) >= self.slots + self.queue:
            raise EngineBusy(f"All {self.slots} slots and {self.queue} places are taken.")

    def _script(self, request):
        script = self.script
        if callable(script):
            script = script(request)
        elif isinstance(script, list) and {type(item) for item in script} in REPLIES:
            script = script[min(len(self.requests), len(script)) - 1]
        return [script] if isinstance(script, str) else script

    def pin(self, ids: tuple[int, ...]) -> None:
        self.pinned.append(tuple(ids))
        self.computed.append(tuple(ids))

    def status(self) -> Status:
        running = min(len(self.active), self.slots)
        return Status(running, len(self.active) - running, self.slots, self.dead)

    def close(self) -> None:
        self._closed = True

    def prompt(self, index=-1):
        """The prompt of a request as text."""
        return self.tokenizer.decode(self.requests[index].ids)


class FakeStream:
    def __init__(self, engine, request, script, wait_s):
        self._engine, self._request, self._wait_s = engine, request, wait_s
        self._steps = self._play(script)
        self._decoder = engine.tokenizer.decoder()
        self._ids = []
        self._submitted = time.monotonic()
        self._admitted = self._first = None
        self._ended = False
        anew = request.cold or request.prompt_logprobs
        known = [] if anew else engine.computed
        self._cached = max((common_prefix(request.ids, ids) for ids in known), default=0)
        pinned = max((common_prefix(request.ids, ids) for ids in engine.pinned), default=0)
        self._repeatable = self._cached <= pinned

    def __iter__(self) -> "FakeStream":
        return self

    def __next__(self) -> Waiting | Piece | Finished:
        if self._ended:
            raise StopIteration
        engine = self._engine
        place = engine.active.index(self) - engine.slots + 1
        if engine._closed:
            return self._end("cancelled")
        if place > 0:
            time.sleep(min(self._wait_s, 0.01))
            return Waiting(place)
        self._admitted = self._admitted or time.monotonic()
        try:
            return next(self._steps)
        except Exception:
            self._end("error")
            raise

    def close(self, reason: Reason = "cancelled") -> Finished:
        if not self._ended:
            self._engine.cancelled += 1
            self._end(reason)
        return self._finished(reason)

    def _play(self, script):
        limit = self._request.max_new_tokens
        if not limit:
            yield self._end("length")
            return
        for ids in self._tokens(script):
            if isinstance(ids, Waiting):
                yield ids
                continue
            self._first = self._first or time.monotonic()
            ids = [token for token in ids if token not in self._request.banned_ids]
            for at, token in enumerate(ids):
                if token in self._request.stop_ids:
                    yield from self._last(ids[:at], "stop", token)
                    return
                if len(self._ids) + at + 1 == limit:
                    yield from self._last(ids[: at + 1], "length")
                    return
            self._ids += ids
            yield self._piece(self._decoder.feed(ids), ids)
        yield from self._last([], "stop", self._engine.tokenizer.eos_id)

    def _last(self, ids, reason, stop_id=None):
        self._ids += ids
        text = self._decoder.feed(ids) + self._decoder.flush()
        if text or ids:
            yield self._piece(text, ids)
        yield self._end(reason, stop_id)

    def _piece(self, text, ids):
        logprobs = self._logprobs(ids, self._request.logprobs)
        return Piece(text, tuple(ids), logprobs)

    def _logprobs(self, ids, count):
        size = len(self._engine.tokenizer)
        return tuple(logprob(token, count, size) for token in ids) if count else None

    def _tokens(self, script):
        first_byte = len(self._engine.tokenizer.special)
        for item in script:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, threading.Event):
                while not item.wait(self._wait_s):
                    yield Waiting(0)
            elif isinstance(item, float):
                end = time.monotonic() + item
                while (left := end - time.monotonic()) > 0:
                    time.sleep(min(left, self._wait_s))
                    yield Waiting(0)
            elif isinstance(item, int):
                yield [item]
            elif isinstance(item, tuple):
                yield item
            else:
                for byte in item.encode() if isinstance(item, str) else item:
                    yield [byte + first_byte]

    def _end(self, reason, stop_id=None):
        self._ended = True
        with self._engine.lock:
            if self in self._engine.active:
                self._engine.active.remove(self)
            self._engine.computed.append((*self._request.ids, *self._ids))
        return self._finished(reason, stop_id)

    def _finished(self, reason, stop_id=None):
        now = time.monotonic()
        prompt = self._logprobs(self._request.ids, self._request.prompt_logprobs)
        stop = None if stop_id is None else self._logprobs([stop_id], self._request.logprobs)
        return Finished(
            reason,
            prompt_tokens=len(self._request.ids),
            cached_tokens=self._cached,
            new_tokens=len(self._ids),
            waited_s=(self._admitted or now) - self._submitted,
            ttft_s=(self._first or now) - self._submitted,
            total_s=now - self._submitted,
            stop_id=stop_id,
            repeatable=self._repeatable,
            prompt_logprobs=prompt and (None, *prompt[1:]) if self._admitted else None,
            stop_logprob=stop[0] if stop else None,
        )


def logprob(token, count, size):
    """The made-up Logprob of a token: every third id is the likeliest of its place, the others
    stand second and third. size: of the vocabulary."""
    rank = token % 3
    top = tuple(((token - rank + n) % size, -0.5 * (n + 1)) for n in range(count))
    return Logprob(-0.5 * (rank + 1), top)
