"""Which kind of server an address has: found out by asking it.

Knows the routes by which servers are told apart; what each kind can do is dialects.py's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import httpx

from assistant.engine.remote.completions import Completions, TransformersServe
from assistant.engine.remote.dialects import JSON, Dialect, LlamaCpp, TextGeneration
from assistant.engine.remote.http import QUICK_MAX, Fault, ask, blocking_ask, garbage
from assistant.engine.remote.model import ServedTokenizer
from assistant.errors import EngineBusy, SettingsError
from assistant.settings import EMBEDDED, Settings
from assistant.text import quoted

MakeTokenizer: TypeAlias = Callable[
    [], ServedTokenizer
]  # makes one, where the server has routes for it
_OWNERS = ("vllm", "tech-assistant")
_NAME_MAX = 255


async def find_kind(
    client: httpx.AsyncClient, settings: Settings
) -> tuple[Dialect, MakeTokenizer | None]:
    """Raises what ask() raises, and
    SettingsError."""
    # First, since its list of models is what lies in its cache, if it has one, not what it serves.
    routes = await _get(client, "/openapi.json")
    if "/load_model" in _part(routes, "paths"):
        if settings.model == EMBEDDED:
            raise SettingsError(
                "transformers serve does not say which model it has: give the name that it was "
                "started with, a folder or a hub id, with --model."
            )
        return TransformersServe(settings.model), None
    listed = _models(await _get(client, "/v1/models"))
    owner = listed[0].get("owned_by") if listed else None
    if owner == "llamacpp":
        return await _llama_cpp(client, listed[0])
    if owner in _OWNERS:
        return _completions(settings, listed, owner), None
    info = await _get(client, "/info")
    if info and isinstance(info.get("model_id"), str):
        return TextGeneration(_name(info["model_id"]), _window(info.get("max_total_tokens"))), None
    if not listed:
        raise SettingsError(
            "It is not a kind of server that is known here: it has no model at /v1/models, and no "
            "/info."
        )
    return _completions(settings, listed, ""), None


def _completions(settings: Settings, listed: Sequence[JSON], owner: str) -> Completions:
    names = [_name(model.get("id")) for model in listed]
    if len(names) > 1 and settings.model not in names:
        raise SettingsError(
            f"It serves {len(names)} models, {', '.join(map(quoted, names[:5]))}: choose one with "
            "--model."
        )
    model = listed[names.index(settings.model) if len(names) > 1 else 0]
    return Completions(_name(model["id"]), owner, _window(model.get("max_model_len")))


async def _llama_cpp(client: httpx.AsyncClient, model: JSON) -> tuple[LlamaCpp, MakeTokenizer]:
    props = await _get(client, "/props") or {}
    window = _window(_part(props, "default_generation_settings").get("n_ctx"))
    size = _window(_part(model, "meta").get("n_vocab")) or 1 << 20
    eos, bos, wait = props.get("eos_token"), props.get("bos_token"), blocking_ask(client)

    def make_tokenizer() -> ServedTokenizer:
        known = [
            text if isinstance(text, str) and len(text) <= _NAME_MAX else None
            for text in (eos, bos)
        ]
        return ServedTokenizer(wait, size, *known)

    return LlamaCpp(_name(model.get("id")), window), make_tokenizer


async def _get(client: httpx.AsyncClient, path: str) -> JSON | None:
    """The server's answer, None where it has no such route, or a page at it."""
    try:
        return await ask(client, "GET", path, most=QUICK_MAX)
    except Fault as fault:
        if fault.failed or isinstance(fault.error, EngineBusy):
            raise
        return None


def _part(value: Mapping[str, Any] | None, key: str) -> JSON:
    part = (value or {}).get(key)
    return part if isinstance(part, dict) else {}


def _models(answer: JSON | None) -> list[JSON]:
    listed = answer.get("data") if answer else []
    if not isinstance(listed, list) or not all(isinstance(model, dict) for model in listed):
        raise garbage("not a list of models")
    return listed


def _name(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _NAME_MAX or not value.isprintable():
        raise garbage("a model without a usable name")
    return value


def _window(value: object) -> int | None:
    return value if type(value) is int and 1 <= value < 2**31 else None
