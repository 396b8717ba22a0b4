"""What takes minutes: many requests, many of them abandoned, and nothing may pile up."""

import json
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import count

import psutil
import pytest

from assistant.attribution import Index, find_matches
from assistant.engine.protocol import Request
from assistant.sampling import Sampling
from assistant.web import app
from tests.support.engines import make_engine, read
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running
from tests.support.waiting import until

pytestmark = pytest.mark.soak

FILL = ["x <FILL_HERE>", "PSM", 9, 1, "", "", 0, 1, 0, 1, 0, None]


def test_two_thousand_requests_with_random_cancels_leak_nothing(tiny_checkpoint):
    engine = make_engine(tiny_checkpoint, slots=4, queue=16)
    chance = random.Random(4)
    trunk = [chance.randrange(19, 300) for _ in range(60)]
    process = psutil.Process()

    def serve(count):
        """Requests with a shared prefix; a third is left at once, a third in the middle."""
        open_streams = []
        for number in range(count):
            ids = trunk[: chance.randrange(1, 60)] + [chance.randrange(19, 300)] * 9
            request = Request(tuple(ids), Sampling(seed=number), chance.randrange(1, 40))
            open_streams.append(engine.generate(request))
            if len(open_streams) == 20:
                chance.shuffle(open_streams)
                for stream in open_streams[:7]:
                    stream.close()
                for stream in open_streams[7:14]:
                    next(stream)
                    stream.close()
                assert [read(stream)[2].reason for stream in open_streams[14:]] == ["length"] * 6
                open_streams.clear()
                until(lambda: engine.status().running == engine.status().waiting == 0)
        assert sorted(engine._scheduler.cache.free) == [0, 1, 2, 3]
        return process.memory_info().rss, threading.active_count(), process.num_fds()

    memory, threads, files = serve(500)
    memory_after, threads_after, files_after = serve(2000)
    engine.close()
    assert (threads_after, files_after) == (threads, files)
    assert memory_after < memory * 1.05


def test_three_hundred_pages_over_http_leak_nothing(monkeypatch):
    """A fifth of them are left in the middle of a reply of the chat; the others use the playground,
    too."""
    monkeypatch.setattr(app, "SESSIONS_MAX", 50)  # what Gradio keeps of so many pages
    process, go_on = psutil.Process(), threading.Event()

    def script(request):
        held = "leave" in FakeEngine().tokenizer.decode(request.ids)
        return ["Once ", go_on, "more."] if held else "Hello."

    with running(FakeEngine(script)) as server:
        with Page(server.url) as page:
            event = page.event("fill-in", "click")

        def chat(count):
            for number in range(count):
                with Page(server.url) as page:
                    if number % 5:
                        assert "Hello." in page.say("stay")
                        page.run(event, FILL)
                        continue
                    with page.news("chat", text="leave") as news:
                        assert any("Once" in value.get("text", "") for value in news)
            server.idle()
            until(lambda: server.health()["running"] == server.health()["waiting"] == 0)

        chat(100)
        memory = process.memory_info().rss
        threads, files = threading.active_count(), process.num_fds()
        chat(200)
        until(lambda: threading.active_count() <= threads and process.num_fds() <= files)
        assert process.memory_info().rss < memory * 1.1
        assert server.engine.cancelled == 60
        with Page(server.url) as page:
            assert page.call("chat", message="stay") == "Hello."


def test_a_corpus_of_a_gigabyte_is_indexed_in_constant_memory(tmp_path):
    """In a program of its own, which is killed at half of it and started again."""
    draw = random.Random(6)
    words = [f"{draw.choice('abcdefgh')}{number}" for number in range(20_000)]
    path, size = tmp_path / "corpus.jsonl", 0
    with path.open("w") as file:
        for number in count():
            text = "\n".join(" ".join(draw.choices(words, k=12)) for _ in range(1_000))
            size += len(text)
            print(json.dumps({"text": text, "path": f"{number}.txt"}), file=file)
            if number == 50:
                known = text
            if size > 1e9:
                break
    index = tmp_path / "index.db"
    command = [sys.executable, "-m", "assistant.attribution", "build", path, "--out", index]

    def build():
        return psutil.Popen(command, stdout=subprocess.PIPE, text=True)

    def watch(process, until_bytes=None):
        """The most memory that it took, until its file has so many bytes or it ends."""
        most, part = 0, tmp_path / "index.db.part"
        while process.poll() is None:
            with suppress(psutil.Error):
                most = max(most, process.memory_info().rss)
            if until_bytes and part.exists() and part.stat().st_size > until_bytes:
                process.kill()
                break
            time.sleep(0.05)
        return most

    first, second = build(), None
    early = watch(first, until_bytes=5e8)
    middle = watch(second := build(), until_bytes=2e9)
    last = watch(third := build())
    said = third.communicate()[0]
    first.communicate(), second.communicate()
    print(f"{size / 1e6:,.0f} MB: {said.strip()}; at most {last / 1e6:.0f} MB of memory, "
          f"index {index.stat().st_size / size:.1f} times the text")  # fmt: skip
    assert second.wait() < 0 and third.wait() == 0
    assert middle < 1.3 * early and last < 300e6  # at the end pieces are sorted, in so much memory
    assert index.stat().st_size < 6 * size
    at = len(known) // 2
    (match,) = find_matches(Index(index), known[at : at + 300])
    assert match.path == "50.txt"
