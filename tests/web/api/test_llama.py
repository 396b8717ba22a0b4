"""What editors use of llama.cpp's API, over a real socket."""

import json
import threading

import httpx
import pytest

from assistant.errors import EngineError
from tests.support.fake_engine import FakeEngine
from tests.support.server import TEMPLATE, running
from tests.support.waiting import FREED_S, until

EDITOR = {  # what an editor's plug-in sends with each key
    "id_slot": 0,
    "input_prefix": "def f(a):\n",
    "input_suffix": "\nf(1)\n",
    "prompt": "    ret",
    "n_predict": 128,
    "n_indent": 4,
    "stop": [],
    "top_k": 40,
    "top_p": 0.9,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 1000,
}


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine()) as server:
        yield server


@pytest.fixture(autouse=True)
def healthy(server, script):
    yield
    script("Fine.")
    assert server.post("/completion", json={"prompt": "x"}).json()["content"] == "Fine."


def events(answer):
    return [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]


def test_a_gap_is_filled(server, script):
    script("urn a")
    answer = server.post("/infill", json=EDITOR).json()
    assert (answer["content"], answer["stop"], answer["stop_type"]) == ("urn a", True, "eos")
    request = server.engine.requests[-1]
    assert server.engine.prompt() == (
        "<fim_prefix>def f(a):\n    ret<fim_suffix>\nf(1)\n<fim_middle>"
    )
    assert (request.max_new_tokens, request.sampling.top_k, request.sampling.top_p) == (
        128,
        40,
        0.9,
    )
    assert (answer["tokens_predicted"], answer["tokens_evaluated"]) == (5, len(request.ids))
    timings = answer["timings"]
    assert timings["prompt_n"] + timings["cache_n"] == len(request.ids)
    assert timings["predicted_n"] == 5 and timings["predicted_ms"] >= 0


@pytest.mark.parametrize(
    "script_, more, content, kind, word",
    [
        ("one\ntwo", {"stop": ["\n"]}, "one", "word", "\n"),
        ("one", {"n_predict": 2}, "on", "limit", ""),
        ("one", {"n_predict": 0}, "", "limit", ""),
        ("one", {"n_predict": -1}, "one", "eos", ""),
        ("one", {"n_predict": 10**6}, "one", "eos", ""),
    ],
)
@pytest.mark.parametrize("path", ["/infill", "/completion"])
def test_how_it_ends(server, script, path, script_, more, content, kind, word):
    script(script_)
    body = {"input_prefix": "a", "prompt": "b", **more}
    answer = server.post(path, json=body).json()
    assert (answer["content"], answer["stop_type"], answer["stopping_word"]) == (
        content,
        kind,
        word,
    )
    *chunks, last = events(server.post(path, json={**body, "stream": True}))
    assert "".join(chunk["content"] for chunk in chunks) == content
    assert not any(chunk["stop"] for chunk in chunks) and last["stop"] and last["content"] == ""
    assert last["stop_type"] == kind


def test_fields_that_are_chosen(server):
    wanted = ["content", "timings/prompt_n", "unheard_of"]
    answer = server.post("/infill", json={**EDITOR, "response_fields": wanted}).json()
    assert answer.keys() == {"content", "timings/prompt_n"}


def test_further_files_stand_first_as_far_as_they_find_room(server):
    files = [{"filename": "a.py", "text": "A"}, {"filename": "b.py", "text": "B", "time": 5}]
    server.post("/infill", json={**EDITOR, "input_extra": files})
    assert server.engine.prompt().startswith("<fim_prefix>A\n\nB\n\ndef f(a):\n")
    long = [{"text": "x" * 50_000}, {"text": "é" * 5000 + "end"}]
    server.post("/infill", json={**EDITOR, "input_extra": long})
    prompt = server.engine.prompt()
    assert "éend\n\ndef f(a):" in prompt and "xx" not in prompt and "\ufffd" not in prompt
    assert 4000 < len(server.engine.requests[-1].ids) < 4500


def test_a_prompt_is_raw(server):
    tokenizer = server.engine.tokenizer
    server.post("/completion", json={"prompt": "a<fim_prefix>\r\n"})
    ids = tokenizer.encode("a<fim_prefix>\r\n", trusted=True)
    assert server.engine.requests[-1].ids == tuple(ids)
    server.post("/completion", json={"prompt": ids})
    assert server.engine.requests[-1].ids == tuple(ids)


@pytest.mark.parametrize(
    "path, body, words, param",
    [
        ("/infill", {}, "The prompt is empty.", None),
        ("/infill", {"input_prefix": 5}, "input_prefix is wrong", "input_prefix"),
        ("/infill", {"input_prefix": "x" * 9000}, "window holds 8192", None),
        ("/infill", {"input_prefix": "x" * 200_001}, "at most 200,000", "input_prefix"),
        ("/infill", {"input_suffix": "a\ud83d"}, "at character 2", "input_suffix"),
        ("/infill", {"prompt": "\ud83d"}, "The prompt has a lone surrogate", "prompt"),
        ("/infill", {"input_extra": ["x"]}, "must be an object.", "input_extra.0"),
        ("/infill", {"input_extra": [{}]}, "has no 'input_extra.0.text'", "input_extra.0.text"),
        ("/completion", {}, "The request has no 'prompt'", "prompt"),
        ("/completion", {"prompt": ["a", 5]}, "prompt must be", "prompt"),
        ("/completion", {"prompt": []}, "The prompt is empty.", "prompt"),
        ("/completion", {"prompt": "a", "n_indent": 4}, "n_indent is not supported", "n_indent"),
        ("/completion", {"prompt": "a", "n_predict": -2}, "n_predict must be from 0", "n_predict"),
        ("/completion", {"prompt": "a", "mirostat": 2}, "mirostat is not supported", "mirostat"),
        ("/completion", {"prompt": "a", "n_probs": 5}, "n_probs is not among", "n_probs"),
        ("/completion", {"prompt": "a", "image_data": [{}]}, "replies are text", "image_data"),
    ],
)
def test_what_is_refused(server, path, body, words, param):
    answer = server.post(path, content=json.dumps(body))  # half a character, too
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert words in error["message"]
    assert server.engine.requests == []


def test_a_model_that_cannot_fill_says_so():
    with running(FakeEngine(special=("<|endoftext|>",))) as server:
        answer = server.post("/infill", json=EDITOR)
        assert answer.status_code == 400 and "cannot fill in the middle" in answer.text
        assert server.post("/completion", json={"prompt": "x"}).status_code == 200


def test_props_and_health(server):
    props = server.get("/props").json()
    assert props["default_generation_settings"]["n_ctx"] == 8192
    assert (props["total_slots"], props["model_path"]) == (8, "fake")
    assert props["chat_template"] == TEMPLATE.to_jinja()
    assert server.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize("path", ["/infill", "/completion"])
def test_failures(server, script, path):
    body = {"prompt": "x"}
    script(["Half", EngineError("Out of memory.")])
    assert server.post(path, json=body).status_code == 503
    *chunks, last = events(server.post(path, json={**body, "stream": True}))
    assert "".join(chunk["content"] for chunk in chunks) == "Half"
    assert last["error"]["message"] == "Out of memory."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/infill", "/completion"])
def test_a_client_that_leaves_frees_its_slot(server, script, path, stream):
    script(["Some", threading.Event()])
    with pytest.raises(httpx.ReadTimeout):
        server.post(path, json={"prompt": "x", "stream": stream}, timeout=0.5)
    until(lambda: not server.engine.active, FREED_S)
