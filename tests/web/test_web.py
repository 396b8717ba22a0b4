"""The web room's parts by themselves: names, sentences, the socket, the entry point."""

import contextlib
import errno
import io
import json
import os
import pathlib
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import httpx
import pytest

from assistant import __main__ as app
from assistant.attribution.shipped import cache_dir
from assistant.chat.assistant import Assistant
from assistant.conversation import Turn
from assistant.engine.protocol import Finished
from assistant.errors import EngineError, PortError, RequestError, SamplingError
from assistant.generation.generate import Done
from assistant.generation.window import Ledger
from assistant.paths import ROOT
from assistant.prompting.template import Segment, encode
from assistant.settings import Settings
from assistant.web.gate.hosts import Hosts
from assistant.web.pages.chat.prompt_tokens import find_parting, tokens
from assistant.web.pages.chat.status import Waits, phase, summary
from assistant.web.pages.chat.templates import Assistants
from assistant.web.server import listen, local_address, warnings
from tests.support.fake_engine import FakeEngine
from tests.support.hostile import SCRIPTED
from tests.support.server import TEMPLATE, Page, running
from tests.support.waiting import EXIT_S, keeps, until

# -- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host, allowed",
    [
        ("127.0.0.1:7860", True),
        ("localhost:1", True),
        ("LOCALHOST", True),
        ("[::1]:7860", True),
        ("::1", True),
        ("me.hf.space", True),
        ("given.example:443", True),
        ("192.168.1.5:7860", True),  # the address that the connection came in on
        ("192.168.1.6:7860", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("evil.example:7860", False),
        ("user@localhost", False),
        ("localhost/x", False),
        ("localhost:port", False),
        ("[::1", False),
        ("", False),
        ("0.0.0.0", False),
    ],
)
def test_which_names_are_ours(host, allowed):
    hosts = Hosts(Settings(host="0.0.0.0", space_host="me.hf.space", allow_host=("given.example",)))
    assert hosts.allow(host, "192.168.1.5") == allowed
    assert not hosts.allow("tunnel.example", "192.168.1.5")
    hosts.add("Tunnel.example")
    assert hosts.allow("tunnel.example", "192.168.1.5")


@pytest.mark.parametrize(
    "host",
    [
        "localhost?x",
        "localhost#x",
        "local\thost",
        "localhost\\x",
        "localhost:99999",
        "a:b@localhost",
    ],
)
def test_what_is_more_than_a_name_is_no_name(host):
    assert not Hosts(Settings()).allow(host, "127.0.0.1")


@pytest.mark.parametrize(
    "origin, host, scheme, own",
    [
        ("http://localhost:7860", "localhost:7860", "http", True),
        ("http://LOCALHOST:7860", "localhost:7860", "http", True),
        ("http://localhost", "localhost:80", "http", True),
        ("https://localhost", "localhost:443", "https", True),
        ("http://[::1]:7860", "[::1]:7860", "http", True),
        ("http://localhost:3000", "localhost:7860", "http", False),  # another program here
        ("https://localhost:7860", "localhost:7860", "http", False),
        ("http://localhost", "localhost:443", "https", False),
        ("http://localhost:7860", "127.0.0.1:7860", "http", False),
        ("https://evil.example", "localhost:7860", "http", False),
        # a proxy that rewrites the host
        ("https://given.example", "127.0.0.1:7860", "http", True),
        ("http://given.example", "127.0.0.1:7860", "http", True),
        ("http://given.example", "127.0.0.1:7860", "https", False),  # anyone on the way writes it
        ("https://given.example:8443", "127.0.0.1:7860", "http", False),
        ("http://given.example:3000", "127.0.0.1:7860", "http", False),
        ("https://port.example:8443", "127.0.0.1:7860", "http", True),
        ("https://port.example", "127.0.0.1:7860", "http", False),
        # one that does not
        ("https://given.example:8443", "given.example:8443", "http", True),
        ("https://given.example", "given.example", "https", True),
        ("http://given.example:7860", "given.example:7860", "http", True),
        ("http://given.example", "given.example", "https", False),
        ("https://given.example:8443", "given.example", "https", False),
        # what has TLS in front of it, always
        ("https://me.hf.space", "127.0.0.1:7860", "http", True),
        ("http://me.hf.space", "127.0.0.1:7860", "http", False),
        ("https://tunnel.example", "127.0.0.1:7860", "http", True),
        ("https://tunnel.example:444", "127.0.0.1:7860", "http", False),
        *((origin, "localhost:7860", "http", False) for origin in (
            "null", "", "file://localhost:7860", "http://[bad", "localhost:7860", "http://",
            "http://localhost:7860/", "http://x@localhost:7860", "http://localhost:78600",
        )),
    ],
)  # fmt: skip
def test_which_pages_may_post(origin, host, scheme, own):
    names = ("given.example", "port.example:8443")
    hosts = Hosts(Settings(allow_host=names, space_host="me.hf.space"))
    hosts.add("Tunnel.example")
    assert hosts.own(origin, host, scheme) == own


# -- how a reply stands -----------------------------------------------------------------------


def test_a_place_in_line_is_worth_what_replies_took():
    waits = Waits()
    assert waits.seconds(3, 2) is None
    waits.add(10.0)
    assert waits.seconds(1, 2) == waits.seconds(2, 2) == 10
    assert waits.seconds(3, 2) == 20
    waits.add(20.0)
    assert 10 < waits.seconds(1, 1) < 20


@pytest.mark.parametrize(
    "writing, place, lately, said",
    [
        (True, 3, (), ""),
        (False, 0, (10,), "Reading"),
        (False, 3, (), "Waiting: number 3 in line"),
        (False, 3, (10,), "Waiting: number 3 in line, about 20 s"),
    ],
)
def test_what_a_reply_is_at(writing, place, lately, said):
    waits = Waits()
    for seconds in lately:
        waits.add(seconds)
    assert phase(writing, place, waits, FakeEngine(slots=2)) == said


@pytest.mark.parametrize(
    "reason, tokens, dropped, said",
    [
        ("stop", 3, (), "12 of 100 tokens · first token after 0.50 s · 4 tokens/s · finished"),
        ("length", 3, (), "12 of 100 tokens · first token after 0.50 s · 4 tokens/s · "
                          "cut at 3 tokens"),
        ("cancelled", 0, (0, 1), "9 of 100 tokens · stopped · "
                                 "2 earlier exchanges no longer fit"),
    ],
)  # fmt: skip
def test_what_a_reply_cost(reason, tokens, dropped, said):
    finished = Finished(reason, 9, 0, tokens, waited_s=0.0, ttft_s=0.5, total_s=1.0)
    done = Done("", None, reason, None, finished)
    assert summary(Ledger(100, 4, 2, 3, 20, dropped), done) == said


# -- templates, tokens, second runs ----------------------------------------------------------


def test_templates_that_fit_are_offered_and_made_when_chosen():
    short = Assistants(Assistant(FakeEngine(), TEMPLATE))
    assert sorted(short.names) == ["", "tech-assistant-short"]  # a byte is a token here
    engine = FakeEngine(window=20_000)
    assistants = Assistants(Assistant(engine, TEMPLATE))
    assert "tech-assistant" in assistants.names and "starchat" not in assistants.names
    assert assistants.get() is assistants.get(assistants.name) is assistants.default
    assert len(engine.pinned) == 1
    chosen, options = assistants.for_settings({"template": "tech-assistant", "seed": 4, "x": 1})
    assert len(engine.pinned) == 2 and chosen is assistants.get("tech-assistant")
    assert options["sampling"].seed == 4 and options["max_new_tokens"] is None
    for name in ("../secret", "starchat", 5, ["a"]):
        with pytest.raises(RequestError, match="tech-assistant"):
            assistants.get(name)
    with pytest.raises(SamplingError):
        assistants.for_settings({"temperature": "hot"})


def test_while_a_template_is_made_the_others_are_there():
    made, go_on = threading.Event(), threading.Event()
    engine = FakeEngine(window=20_000)
    assistants = Assistants(Assistant(engine, TEMPLATE))
    engine.pin = lambda ids: made.set() or go_on.wait(60)
    first = threading.Thread(target=assistants.get, args=["tech-assistant"])
    first.start()
    assert made.wait(60)
    other = threading.Thread(target=assistants.get)
    other.start()
    other.join(30)
    waits = other.is_alive()
    go_on.set()
    first.join()
    other.join()
    assert not waits and assistants.get("tech-assistant") is not assistants.default


def test_tokens_add_up_to_the_prompt_and_say_where_they_come_from():
    tokenizer = FakeEngine().tokenizer
    segments = [Segment("<|endoftext|>A: ", trusted=True), Segment("é <|endoftext|>")]
    found = tokens(segments, tokenizer)
    assert [token for _, token, _ in found] == encode(segments, tokenizer)
    assert "".join(text for text, _, _ in found) == "<|endoftext|>A: é <|endoftext|>"
    kinds = [kind for _, _, kind in found]
    assert kinds == ["special", *["trusted"] * 3, *["plain"] * (len(found) - 4)]


@pytest.mark.parametrize(
    "was, now, finish, at",
    [
        ("same", "same", "stop", None),
        ("same", "sane", "stop", 2),
        ("same", "same and more", "stop", 4),
        ("same", "same and more", "cancelled", None),
        ("same and more", "same", "cancelled", 4),
    ],
)
def test_where_two_replies_part(was, now, finish, at):
    told = find_parting(
        Turn("assistant", was, finish=finish), Turn("assistant", now), FakeEngine().tokenizer
    )
    assert told["at"] == at
    if at is not None:
        one, other = told["was"], told["now"]
        assert (one["before"] + one["token"] + one["after"]) == was
        assert one["token"] != other["token"]


# -- the socket, the warnings ----------------------------------------------------------------


def test_a_taken_port_is_a_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortError, match=f"{port}.*--port"):
            listen(Settings(port=port))
    with listen(Settings(port=0)) as sock:
        assert local_address(Settings(), sock).startswith("http://127.0.0.1:")


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host", "::ffff:203.0.113.7"])
def test_a_host_that_is_not_ours_is_a_sentence(host):
    with pytest.raises(PortError):
        listen(Settings(host=host, port=0))


def test_a_machine_without_ipv6_is_a_sentence(monkeypatch):
    def make(family, *_):
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(socket, "socket", make)
    with pytest.raises(PortError, match="::1"):
        listen(Settings(host="::1", port=0))


def test_a_user_without_a_home_is_served(monkeypatch):
    """Such as one of a container, who is a number and not among the system's users."""

    def nobody(number):
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert cache_dir() == pathlib.Path(tempfile.gettempdir()) / "tech-assistant"
    with running() as server:
        assert server.get("/").status_code == 200


@pytest.mark.parametrize(
    "settings, words",
    [
        (Settings(), []),
        (Settings(host="0.0.0.0"), ["--auth"]),
        (Settings(host="0.0.0.0", auth=("a", "b")), []),
        (Settings(host="0.0.0.0", on_space=True), []),
        (Settings(share=True), ["--share without --auth"]),
        (Settings(share=True, auth=("a", "b")), []),
        (Settings(host="192.168.1.5", share=True), ["192.168.1.5", "--share without --auth"]),
    ],
)
def test_who_can_reach_the_page_is_said(settings, words):
    said = list(warnings(settings))
    assert len(said) == len(words)
    assert all(word in sentence for word, sentence in zip(words, said, strict=True))


# -- the program -----------------------------------------------------------------------------


def program(*arguments, code=None, **options):
    command = [sys.executable, *(("-c", code) if code else ("app.py",)), *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--port", "PORT"], "--port 0 takes a free port"),
        (["--port", "x"], "port"),
        (["--nonsense"], "--help"),
        (["--host", "203.0.113.7"], "203.0.113.7"),
    ],
)
def test_what_keeps_it_from_starting_is_one_sentence(arguments, sentence):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = program(*[port if word == "PORT" else word for word in arguments])
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert sentence in err and err.count("\n") == 1 and out == ""


def test_help_needs_nothing_heavy():
    heavy = "any(m in sys.modules for m in ('torch', 'gradio'))"
    code = f"import assistant.__main__, sys; sys.exit({heavy})"
    process = program(code=code)
    assert process.communicate(timeout=60) == ("", "") and process.returncode == 0


SERVE = SCRIPTED.format(script='["Once ", 60.0]')  # it waits for a minute within a reply


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_replies_and_the_program(number):
    keeps(lambda: end_by(number))


def end_by(number):
    process = program("--port", "0", code=SERVE)
    try:
        url = process.stdout.readline().strip()
        with Page(url) as page, contextlib.ExitStack() as stack:
            stack.enter_context(page.http.stream("GET", "/gradio_api/heartbeat/" + page.session))
            seen, sent = "", None
            with page.news("chat", text="hi") as news:
                for value in news:
                    seen += json.dumps(value)
                    if sent is None and "Once" in seen:
                        process.send_signal(number)
                        sent = time.monotonic()
            assert "cancelled" in seen[seen.index("Once") :]  # the partial reply, marked
            until(lambda: process.poll() is not None, sent + EXIT_S - time.monotonic())
        with contextlib.closing(listen(Settings(port=int(url.rpartition(":")[2])))):
            pass  # the port is free again
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, verify=False)
    finally:
        process.kill()
        process.communicate()


def test_a_terminal_may_lack_a_character(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(app, "start", lambda settings: app.say("modèle is at"))
    assert app.main([]) == 0 and b"mod?le is at" in terminal.buffer.getvalue()


def test_an_engine_that_fails_at_the_start_is_one_sentence(monkeypatch, capsys):
    def broken(settings):
        raise EngineError("The preamble could not be computed.")

    monkeypatch.setattr(app, "start", broken)
    assert app.main(["--port", "0"]) == 1
    assert capsys.readouterr().err == "The preamble could not be computed.\n"
