"""Settings: flags, then ASSISTANT_* environment variables, then defaults; read once, frozen.

Knows names, types and ranges. Whether a model or a template exists is found out by who opens it.
The Hugging Face token is not a setting: huggingface_hub reads HF_TOKEN itself.
"""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, cast
from urllib.parse import urlsplit

from assistant.errors import SettingsError

EMBEDDED = "embedded"  # the name of the checkpoint under models/
# Tokens: the shortest template that ships takes 80, a question and its reply have the rest.
WINDOW_MIN = 256
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the program was started with; secrets are left out of the repr."""

    model: str = EMBEDDED
    endpoint: tuple[str, ...] = ()  # servers that compute in this program's place
    endpoint_key: str | None = field(default=None, repr=False)
    revision: str | None = None
    adapter: str | None = None  # a LoRA that is merged into the model
    device: str = "auto"
    dtype: str = "auto"
    allow_bin: bool = False
    prompt: str | None = None  # None: the template that suits the model
    max_new_tokens: int = 512
    slots: int = 8
    window: int | None = None  # tokens; None: as many as there is memory for
    queue: int = 64
    threads: int | None = None  # that compute on a CPU; None: as many as are fastest
    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    auth: tuple[str, str] | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    sources: str | None = None  # an index of sources, else that of the embedded model's corpus
    attribution: str | None = None  # a service that knows a model's training data
    accept_license: bool = False  # asks no visitor for it
    allow_host: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()  # pages that may use the APIs; "*": all, with a key
    root_path: str = ""
    max_requests_per_minute: int = 0  # of one client address; 0: no limit
    access_log: bool = False
    space_host: str | None = None  # SPACE_HOST, set by the hub on a Space
    on_space: bool = False

    @property
    def on_loopback(self) -> bool:
        return self.host in ("127.0.0.1", "localhost", "::1")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message[:1].upper()}{message[1:]}; --help lists the flags.")


def _flag(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _count(low: int, high: int) -> Callable[[str], int]:
    def check(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {low} to {high}, not {text!r}"
            )
        return int(text)

    return check


def _address(text: str) -> str:
    """A server's address. Raises ArgumentTypeError."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"must be an address like http://HOST:8000, not {text!r}")
    if parts.username is not None:
        raise argparse.ArgumentTypeError(
            "must hold no name and no password; for --endpoint, ASSISTANT_ENDPOINT_KEY takes a key"
        )
    return text.rstrip("/")


def _endpoint(text: str) -> str:
    """A server's address as all of its routes begin: without the /v1 of some of them."""
    return _address(text).removesuffix("/v1").rstrip("/")


def _attribution(text: str) -> str:
    """The address of a route /overlap."""
    return _address(text).removesuffix("/overlap") + "/overlap"


def _key(name: str, path: str | None, key: str | None) -> str | None:
    """The secret in the file `path`, else `key`, which a variable held; None for neither. Raises
    SettingsError, which never quotes it."""
    what, value = f"The variable ASSISTANT_{name.upper()}", key
    if path == "":
        raise SettingsError(f"{what}_FILE is empty; name a file, or leave it out.")
    if path is not None:
        what = f"The file {path}"
        try:
            with open(path, encoding="utf-8") as file:
                value = file.read(10_000).strip()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise SettingsError(f"The file {path} with a key cannot be read: {why}.") from None
    if value is not None and not re.fullmatch(r"[!-~]+", value):
        raise SettingsError(f"{what} must hold a key: one line of ASCII characters, no blanks.")
    return value


def _auth(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("must have the form USER:PASSWORD")
    return user, password


def _origin(text: str) -> str:
    """An origin as browsers send it, or *. They send that of a file: as null."""
    origin = text.rstrip("/").lower()
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
        spelt = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
        usable = host != "" and parts.scheme != "file" and origin == spelt
    except ValueError:
        usable = False
    if text != "*" and not (usable and re.fullmatch(r"[\w+.:/\[\]-]+", origin, re.ASCII)):
        raise argparse.ArgumentTypeError(
            f"must be an origin like https://example.org or app://obsidian.md, or *, not {text!r}"
        )
    for scheme, port in (("http", ":80"), ("https", ":443")):
        if origin.startswith(f"{scheme}://"):
            origin = origin.removesuffix(port)  # as browsers leave it out
    return origin


def _root_path(text: str) -> str:
    if text and not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"must start with a slash, not {text!r}")
    return text.rstrip("/")


_DTYPES = ("auto", "float32", "bfloat16", "float16", "int8", "int4")


def _parser(on_space: bool) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tech-assistant",
        description="Chat with a base code model, and a playground for its prompts.",
        epilog="Every flag can also be set as an environment variable: --max-new-tokens is "
        "ASSISTANT_MAX_NEW_TOKENS. A flag wins over its variable.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", default=EMBEDDED,
        help="a hub id (bigcode/starcoder), a folder, a .gguf file, one on the hub "
        "(OWNER/NAME:FILE.gguf), or: embedded")  # fmt: skip
    add("--endpoint", action="append", type=_endpoint, metavar="URL",
        help="a server that computes instead: vLLM, transformers serve, llama.cpp, TGI, or another "
        "copy of this program; again for each further one")  # fmt: skip
    add("--endpoint-key-file", metavar="PATH",
        help="the key that they ask for; or the key itself as ASSISTANT_ENDPOINT_KEY")  # fmt: skip
    add("--revision", help="branch, tag or commit of the hub repository")
    add("--adapter", metavar="NAME",
        help="a LoRA in peft's format, merged into the model: a folder, owner/name, or "
        "owner/name@revision")  # fmt: skip
    add(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:1, ..., or several for one model: cuda:0,cuda:1,cpu",
    )
    add("--dtype", default="auto", choices=_DTYPES)
    add("--allow-bin", action="store_true", help="load .bin weights too (weights_only reader)")
    add("--prompt",
        help="a name in prompts/, a .toml file, hub:bigcode/ta-prompt, or: model, for the chat "
        "template that a model brings")  # fmt: skip
    add("--max-new-tokens", type=_count(1, 1_000_000), default=512, help="of a reply")
    add("--slots", type=_count(1, 256), default=8, help="replies computed at once")
    add("--window", type=_count(WINDOW_MIN, 10_000_000), metavar="TOKENS",
        help="of prompt and reply together, the model's positions at most; else all up to 8,192, "
        "and of more as many as there is memory for")  # fmt: skip
    add("--queue", type=_count(0, 10_000), default=64, help="requests that may wait")
    add("--threads", type=_count(1, 1024),
        help="that compute on a CPU, its cores at most; else as many as are fastest")  # fmt: skip
    add("--host", default="0.0.0.0" if on_space else "127.0.0.1")
    add("--port", type=_count(0, 65535), default=7860, help="0 takes a free one")
    add("--share", action="store_true", help="open a public link through Gradio's tunnel")
    add("--auth", type=_auth, metavar="USER:PASSWORD", help="better as ASSISTANT_AUTH")
    add("--api-key", metavar="KEY", help="what programs must send; better as ASSISTANT_API_KEY")
    add("--api-key-file", metavar="PATH", help="a file that holds it")
    add("--sources", metavar="INDEX",
        help="an index of sources that was built here, in place of the shipped one")  # fmt: skip
    add("--attribution", type=_attribution, metavar="URL",
        help="a service that knows a model's training data, which visitors may ask")  # fmt: skip
    add("--accept-license", action="store_true",
        help="the page asks nobody to accept the model's licence")  # fmt: skip
    add("--allow-host", action="append", metavar="HOST", help="a further name of this server")
    add("--allow-origin", action="append", type=_origin, metavar="ORIGIN",
        help="pages of another site that may use the APIs; * for all, with a key")  # fmt: skip
    add("--root-path", type=_root_path, default="", help="behind a reverse proxy: its path")
    add(
        "--max-requests-per-minute",
        type=_count(0, 100_000),
        default=0,
        help="of one client address; 0 sets no limit",
    )
    add("--access-log", action="store_true", help="a line of JSON for each request, on stdout")
    return parser


def read_settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Settings from the command line and the environment. Raises SettingsError."""
    on_space = bool(environ.get("SPACE_ID"))
    parser = _parser(on_space)
    for action in parser._actions:
        name = "ASSISTANT_" + action.dest.upper()
        if action.dest == "help" or name not in environ:
            continue
        try:
            action.default = _from_environment(action, environ[name])
        except (argparse.ArgumentTypeError, argparse.ArgumentError) as error:
            detail = getattr(error, "message", error)
            raise SettingsError(f"The variable {name} {detail}.") from None
    values = vars(parser.parse_args(argv))
    for name in ("allow_host", "allow_origin", "endpoint"):
        values[name] = tuple(dict.fromkeys(values[name] or ()))
    for name in ("endpoint_key", "api_key"):
        key = values.get(name, environ.get(f"ASSISTANT_{name.upper()}"))
        values[name] = _key(name, values.pop(f"{name}_file"), key)
    if values["adapter"] and values["endpoint"]:
        raise SettingsError(
            "--adapter is merged into a model that is computed here; with --endpoint, give it to "
            "that server."
        )
    if "*" in values["allow_origin"] and values["api_key"] is None:
        raise SettingsError(
            "--allow-origin * lets the pages of all sites use this server; give it a key with "
            "--api-key or --api-key-file, or name the origins."
        )
    return Settings(**values, space_host=environ.get("SPACE_HOST"), on_space=on_space)


def _from_environment(action: argparse.Action, text: str) -> object:
    if isinstance(action, argparse._StoreTrueAction):
        return _flag(text)
    check = cast(Callable[[str], object], action.type or str)
    if isinstance(action, argparse._AppendAction):
        return [check(part.strip()) for part in text.split(",") if part.strip()]
    value = check(text)
    if action.choices and value not in action.choices:
        raise argparse.ArgumentTypeError(
            f"must be one of {', '.join(action.choices)}, not {text!r}"
        )
    return value
