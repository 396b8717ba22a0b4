"""What is written of failures: their kinds and places, and nothing that was sent."""

import json
import logging
import subprocess
import sys

import pytest

from assistant.paths import ROOT
from assistant.web.gate.writing import CAUSES, FRAMES, Plain, name_failure
from tests.support.hostile import MARK, WORD, Walked


def fail(depth=0, cause=None):
    if depth:
        fail(depth - 1, cause)
    raise ValueError(MARK) from cause


def caught(*values):
    try:
        fail(*values)
    except ValueError as error:
        return error


def record(name="assistant.x", message="it failed", *values, error=None):
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(name, logging.ERROR, "/a/b.py", 7, message, values, info)


def test_a_failure_is_its_kind_and_its_places():
    error = caught(2, KeyError(MARK))
    told = name_failure(error)
    place = "gate/test_writing.py:"
    assert told.startswith(f"ValueError at {place}") and told.count(place) == 4
    assert told.endswith("; after KeyError at no place") and WORD not in told


def test_of_long_ways_the_inner_end_is_named():
    error = caught(200)
    assert name_failure(error).count(" < ") == FRAMES - 1
    for _ in range(20):
        error = caught(0, error)
    assert name_failure(error).count("; after ") == CAUSES


def test_of_a_group_the_first_failure_is_named():
    group = ExceptionGroup(MARK, [caught(), KeyError(MARK)])
    told = name_failure(group)
    assert told.startswith("ExceptionGroup at no place; after ValueError at gate/test_writing.py:")
    assert WORD not in told


def test_none_is_no_failure():
    assert name_failure(None) == ""


def test_a_record_is_one_line_without_what_was_sent():
    line = Plain().format(record(error=caught()))
    assert line.startswith("it failed: ValueError at gate/test_writing.py:") and WORD not in line
    assert Plain().format(record("assistant.x", "of %s", "a\n\x1b[1mb")) == "of a\\n\\x1b[1mb"


def test_other_libraries_are_named_and_not_quoted():
    line = Plain().format(record("python_multipart", f"odd: {MARK} %s", MARK, error=caught()))
    assert line.startswith("ERROR of python_multipart at b.py:7: ValueError at ")
    assert WORD not in line


def test_of_a_card_the_message_is_told():
    line = Plain().format(record("assistant.engine.local.x", error=RuntimeError(MARK)))
    assert line.endswith(f": {MARK}".replace("\x1b", "\\x1b").replace("\u202e", "\\u202e"))
    line = Plain().format(record("assistant.engine.local.x", error=caught()))
    assert WORD not in line  # of a client's grammar


CODE = """
import asyncio, gc, logging, threading, warnings
from assistant.web.gate.writing import write_plainly
from assistant.web.gate.connections import quiet_handler
import assistant.web.gradio_inside
from gradio import queueing, route_utils, routes
MARK = {mark!r}

def fail():
    raise ValueError(MARK)

class Odd:
    def __del__(self):
        fail()

async def loop():
    asyncio.get_running_loop().set_exception_handler(quiet_handler())
    task = asyncio.get_running_loop().create_task(later())
    while not task.done():
        await asyncio.sleep(0)
    del task
    gc.collect()
    asyncio.get_running_loop().call_soon(lambda text: fail(), MARK)
    await asyncio.sleep(0)

async def later():
    fail()

logging.getLogger("its.own").addHandler(logging.StreamHandler())
write_plainly()
warnings.warn(MARK)
thread = threading.Thread(target=fail)
thread.start()
thread.join()
Odd()
asyncio.run(loop())
logging.getLogger("other").warning(MARK)
logging.getLogger("its.own").warning(MARK)
for module in (queueing, route_utils, routes):
    try:
        fail()
    except ValueError:
        module.traceback.print_exc()
"""


def test_whatever_python_writes_by_itself_is_plain():
    code = CODE.format(mark=MARK)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "", done
    lines = done.stderr.splitlines()
    assert len(lines) == 10, done.stderr
    assert lines[0].startswith("UserWarning at ") and lines[1].startswith("a thread: ValueError")
    assert lines[2].startswith("ignored: ValueError") and "never retrieved" in lines[3]
    assert lines[4].startswith("Exception in callback: ValueError at <string>:")
    assert lines[5].startswith("WARNING of other at <string>:")
    assert lines[6].startswith("WARNING of its.own at <string>:")
    for line in lines[7:]:
        assert line.startswith("an event of the page failed: ValueError at ")
    assert WORD not in done.stderr and "Traceback" not in done.stderr and "\x1b" not in done.stderr


@pytest.fixture(scope="module")
def walked():
    with Walked(engine=f"[ValueError({MARK!r})]") as walked:
        yield walked


def test_a_reply_that_fails_inside_leaves_no_word_of_it(walked):
    with walked.client() as http:
        own = {"origin": walked.url}
        chat = {"run": WORD * 2, "text": MARK}
        assert http.post("/page/chat", json=chat, headers=own).status_code == 200
        messages = [{"role": "user", "content": MARK}]
        for path, body in {
            "/v1/chat/completions": {"messages": messages},
            "/v1/completions": {"prompt": MARK},
            "/generate": {"inputs": MARK},
        }.items():
            assert http.post(path, json=body).status_code == 500
        event = http.post("/gradio_api/call/v2/chat", json={"message": MARK}).json()["event_id"]
        assert "event: error" in http.get(f"/gradio_api/call/chat/{event}").text
        multipart = {"content-type": "multipart/form-data; boundary=x"}
        http.post("/gradio_api/queue/join", content=b"--" + MARK.encode(), headers=multipart)
        assert http.get("/health").status_code == 200
    walked.check_silence()
    said = json.dumps(walked.said)
    assert said.count("ValueError at ") >= 5
