"""Settings: flags, then ASSISTANT_* environment variables, then defaults; read once, frozen.

Knows names, types and ranges. Whether a model or a template exists is found out by who opens it.
The Hugging Face token is no setting: huggingface_hub reads HF_TOKEN itself.
"""

import argparse
from dataclasses import dataclass, field

from assistant.errors import SettingsError

EMBEDDED = "embedded"  # the name of the checkpoint under models/
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the program was started with; `auth` is left out of the repr."""

    model: str = EMBEDDED
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    allow_bin: bool = False
    prompt: str | None = None  # None: the template that suits the model
    max_new_tokens: int = 512
    slots: int = 8
    queue: int = 64
    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    auth: tuple[str, str] | None = field(default=None, repr=False)
    allow_host: tuple[str, ...] = ()
    root_path: str = ""
    space_host: str | None = None  # SPACE_HOST, set by the hub on a Space
    on_space: bool = False

    @property
    def on_loopback(self):
        return self.host in ("127.0.0.1", "localhost", "::1")


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise SettingsError(f"{message[:1].upper()}{message[1:]}; --help lists the flags.")


def _flag(text):
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _count(low, high):
    def check(text):
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {low} to {high}, not {text!r}"
            )
        return int(text)

    return check


def _auth(text):
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("must have the form USER:PASSWORD")
    return user, password


def _root_path(text):
    if text and not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"must start with a slash, not {text!r}")
    return text.rstrip("/")


_DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")


def _parser(on_space):
    parser = _Parser(
        prog="app.py",
        description="Chat with a base code model, and a playground for its prompts.",
        epilog="Every flag can also be set as an environment variable: --max-new-tokens is "
        "ASSISTANT_MAX_NEW_TOKENS. A flag wins over its variable.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", default=EMBEDDED, help="a hub id (bigcode/starcoder), a folder, or: embedded")
    add("--revision", help="branch, tag or commit of the hub repository")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add("--dtype", default="auto", choices=_DTYPES)
    add("--allow-bin", action="store_true", help="load .bin weights too (weights_only reader)")
    add("--prompt", help="a name in prompts/, a .toml file, or hub:bigcode/ta-prompt")
    add("--max-new-tokens", type=_count(1, 1_000_000), default=512, help="of a reply")
    add("--slots", type=_count(1, 256), default=8, help="replies computed at once")
    add("--queue", type=_count(0, 10_000), default=64, help="requests that may wait")
    add("--host", default="0.0.0.0" if on_space else "127.0.0.1")
    add("--port", type=_count(0, 65535), default=7860, help="0 takes a free one")
    add("--share", action="store_true", help="open a public link through Gradio's tunnel")
    add("--auth", type=_auth, metavar="USER:PASSWORD", help="better as ASSISTANT_AUTH")
    add("--allow-host", action="append", metavar="HOST", help="a further name of this server")
    add("--root-path", type=_root_path, default="", help="behind a reverse proxy: its path")
    return parser


def read_settings(argv, environ):
    """Settings from the command line and the environment. Raises SettingsError."""
    on_space = bool(environ.get("SPACE_ID"))
    parser = _parser(on_space)
    for action in parser._actions:
        name = "ASSISTANT_" + action.dest.upper()
        if action.dest == "help" or name not in environ:
            continue
        try:
            action.default = _from_environment(parser, action, environ[name])
        except (argparse.ArgumentTypeError, argparse.ArgumentError) as error:
            detail = getattr(error, "message", error)
            raise SettingsError(f"The variable {name} {detail}.") from None
    values = vars(parser.parse_args(argv))
    values["allow_host"] = tuple(values["allow_host"] or ())
    return Settings(**values, space_host=environ.get("SPACE_HOST"), on_space=on_space)


def _from_environment(parser, action, text):
    if isinstance(action, argparse._StoreTrueAction):
        return _flag(text)
    if action.dest == "allow_host":
        return [host.strip() for host in text.split(",") if host.strip()]
    value = action.type(text) if action.type else text
    if action.choices and value not in action.choices:
        raise argparse.ArgumentTypeError(
            f"must be one of {', '.join(action.choices)}, not {text!r}"
        )
    return value
