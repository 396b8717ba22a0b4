"""The RemoteEngine in front of scripted servers: what it sends, what it makes of what comes, and
one sentence for each fault."""

import asyncio
import json
import threading
from dataclasses import replace

import pytest

from assistant.completion.raw import Raw
from assistant.engine.protocol import Request, Waiting
from assistant.engine.remote import http
from assistant.engine.remote import read as read_module
from assistant.engine.remote.model import ServedTokenizer
from assistant.engine.tokenizer import load_tokenizer
from assistant.errors import (
    EngineBusy,
    EngineDead,
    EngineError,
    RequestError,
    SettingsError,
    WindowError,
)
from assistant.generation.generate import generate
from assistant.generation.stops import StopScanner
from assistant.sampling import Sampling
from tests.support.checkpoints import make_metaspace_tokenizer
from tests.support.reading import greedy, read
from tests.support.scripted_server import CUT, FAULTS, llama_cpp, serving, tgi, transformers, vllm
from tests.support.server import running
from tests.support.waiting import until

SEEDED = Sampling(temperature=0.5, top_p=0.9, top_k=5, repetition_penalty=1.1, seed=7, min_p=0)


def kinds(folder, tokenizer):
    """A server of each kind that has the model, and its routes for a reply."""
    name, eos = str(folder), tokenizer.eos_id
    return {
        "vllm": (vllm(name, encode=tokenizer.encode, eos=eos), "/v1/completions"),
        "other": (vllm(name, owner="x", takes_ids=False), "/v1/completions"),
        "transformers": (transformers(name), "/v1/completions"),
        "tgi": (tgi(name, tokenizer.encode, eos=eos), "/generate_stream"),
        "llama.cpp": (llama_cpp(name, tokenizer), "/completion"),
    }


KINDS = ("vllm", "other", "transformers", "tgi", "llama.cpp")
GARBAGE = {"garbage", "page", "no object", "deep", "endless line", "ids out of range"}
SILENT = {"silence", "a slow line", "headers"}
NOT_MET = {"transformers": {"ids out of range"}, "other": {"ids out of range"}}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def server(kind, model_files, tokenizer):
    with serving(kinds(model_files, tokenizer)[kind][0]) as server:
        yield server


def healthy(engine, tokenizer):
    request = greedy(tokenizer.encode("Say it."), 20, stop_ids=frozenset({tokenizer.eos_id}))
    text, ids, finished = read(engine.generate(request))
    assert text == "Hello." and finished.reason == "stop"
    assert not ids or tokenizer.decode(ids) == text
    return finished


def test_a_reply_of_each_kind(kind, server, open_remote, tokenizer):
    engine = open_remote(server)
    assert engine.window == 256 and len(engine.tokenizer) == len(tokenizer)
    assert not engine.embedded and engine.status().running == 0
    finished = healthy(engine, tokenizer)
    assert finished.stop_id == tokenizer.eos_id and 0 < finished.ttft_s <= finished.total_s
    assert finished.prompt_tokens == len(tokenizer.encode("Say it.")) and finished.new_tokens
    path, body = server.seen[-1]
    prompt = body.get("prompt", body.get("inputs"))
    sent = tokenizer.encode("Say it.") if kind in ("vllm", "llama.cpp") else "Say it."
    assert prompt == sent
    assert ("ids" in engine.limitations) == isinstance(prompt, str)
    assert all(sentence.endswith(".") for sentence in engine.limitations.values())
    until(lambda: engine.status().running == engine.status().waiting == 0)


def sent(kind, body):
    """What the sampling is for a server, by our names."""
    if kind == "tgi":
        body = body["parameters"]
    if kind == "transformers":
        body = json.loads(body["generation_config"]) | {"seed": body["seed"]}
    names = {"repeat_penalty": "repetition_penalty"}
    body = {names.get(key, key): value for key, value in body.items()}
    keys = ("temperature", "top_p", "top_k", "repetition_penalty", "seed")
    return {key: body.get(key) for key in keys}


def test_the_sampling_is_sent_as_each_kind_has_it(kind, server, open_remote, tokenizer):
    engine = open_remote(server)
    ids = tuple(tokenizer.encode("a"))
    read(engine.generate(Request(ids, SEEDED, 5, banned_ids=frozenset({3}))))
    body = server.seen[-1][1]
    assert sent(kind, body) == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 5, "repetition_penalty": 1.1, "seed": 7
    }  # fmt: skip
    if "banned" not in engine.limitations:
        assert "3" in json.dumps(body.get("logit_bias") or body.get("generation_config"))
    read(engine.generate(greedy(ids, 5)))
    body = server.seen[-1][1]
    if kind == "tgi":
        assert body["parameters"]["do_sample"] is False
        assert "temperature" not in body["parameters"]
        with pytest.raises(RequestError, match="has no min_p"):
            read(engine.generate(Request(ids, Sampling(min_p=0.1), 5)))
    elif kind == "transformers":
        assert "do_sample" not in body["generation_config"]
    else:
        assert body["temperature"] == 0


@pytest.mark.parametrize("fault", [*FAULTS, "headers"])
def test_a_fault_is_one_sentence_and_the_next_request_works(
    kind, server, fault, open_remote, tokenizer, monkeypatch
):
    if fault in NOT_MET.get(kind, ()) or (fault == "aborted" and kind == "llama.cpp"):
        return
    engine = open_remote(server)
    server.fault, silent = fault, fault in SILENT
    with monkeypatch.context() as patch, pytest.raises(EngineError) as caught:
        if silent:
            patch.setattr(http, "SILENCE_S", 0.3)
        read(engine.generate(greedy(tokenizer.encode("Say it."), 20)))
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence and sentence.count(". ") == 0
    assert server.url not in sentence
    assert isinstance(caught.value, EngineBusy) == (fault in ("429", "503"))
    if fault in ("401", "403"):
        assert "ASSISTANT_ENDPOINT_KEY" in sentence
    assert ("something that is not a reply" in sentence) >= (fault in GARBAGE)
    if silent:
        assert "0.3 seconds" in sentence
    server.fault = None
    healthy(engine, tokenizer)


def test_what_came_before_a_fault_is_kept_and_not_asked_for_again(server, open_remote, tokenizer):
    engine = open_remote(server)
    asked = len(server.seen)
    before = server.routes
    for key in before:
        if key[0] == "POST" and "tokenize" not in key[1]:
            reply = before[key]

            def cut(body, reply=reply):
                value = list(reply(body))
                return [*value[:1], CUT]

            server.routes = {**before, key: cut}
    seen = ""
    with pytest.raises(EngineError, match="broke before the reply's end"):
        for item in engine.generate(greedy(tokenizer.encode("Say it."), 20)):
            seen += getattr(item, "text", "")
    assert seen and "Hello.".startswith(seen)
    assert len(server.seen) == asked + 1
    server.routes = before
    healthy(engine, tokenizer)


@pytest.mark.parametrize("fault", ["dropped", "500", "garbage", "error event"])
def test_before_the_first_token_it_is_tried_once_more(server, fault, open_remote, tokenizer):
    engine = open_remote(server)
    server.fault, server.faults = fault, 1
    healthy(engine, tokenizer)
    server.fault, server.faults = fault, 2
    with pytest.raises(EngineError):
        healthy(engine, tokenizer)
    healthy(engine, tokenizer)


def test_closing_a_stream_closes_the_request(model_files, open_remote, tokenizer):
    with serving(vllm(str(model_files), encode=tokenizer.encode)) as server:
        engine = open_remote(server)
        server.reply = ["Hel", threading.Event()]
        stream = engine.generate(greedy(tokenizer.encode("Say it."), 20), wait_s=0.01)
        assert until(lambda: getattr(next(stream), "text", "")) == "Hel"
        assert isinstance(next(stream), Waiting)
        assert engine.status().running == 1
        finished = stream.close()
        assert finished.reason == "cancelled" and finished.new_tokens
        until(lambda: server.left and engine.status().running == 0)
        server.reply = ["Hel", "lo."]
        healthy(engine, tokenizer)


def test_closing_the_engine_ends_its_streams(model_files, open_remote, tokenizer):
    with serving(vllm(str(model_files), encode=tokenizer.encode)) as server:
        engine = open_remote(server)
        server.reply = ["Hel", threading.Event()]
        request = greedy(tokenizer.encode("Say it."), 20)
        stream = engine.generate(request)
        assert until(lambda: getattr(next(stream), "text", "")) == "Hel"
        engine.close()
        text, _, finished = read(stream)
        assert finished.reason == "cancelled"
        with pytest.raises(EngineDead):
            engine.generate(request)


def test_a_server_that_writes_on_is_left_at_once(model_files, open_remote, tokenizer, monkeypatch):
    """As one does that knows nothing of our stop ids: what it writes on is not waited for."""
    monkeypatch.setattr(read_module, "TAIL_S", 10**6)
    with serving(vllm(str(model_files), encode=tokenizer.encode)) as server:
        engine = open_remote(server)
        stop = {"index": 0, "text": "", "token_ids": [tokenizer.eos_id]}
        go_on = threading.Event()
        server.reply = ["Hel", {"choices": [stop]}, go_on, "lo"]
        request = greedy(tokenizer.encode("Say it."), 20, stop_ids=frozenset({tokenizer.eos_id}))
        stream = engine.generate(request, wait_s=0.01)
        assert until(lambda: getattr(next(stream), "text", "")) == "Hel"
        last = until(lambda: (item := next(stream)) != Waiting(0) and item)
        assert last.stop_id == tokenizer.eos_id
        until(lambda: server.left)


def test_a_reply_ends_at_its_limit_whatever_the_server_does(server, open_remote, tokenizer):
    engine = open_remote(server)
    server.reply = ["a"] * 50
    text, _, finished = read(engine.generate(greedy(tokenizer.encode("Say it."), 7)))
    assert text == "a" * 7 and finished.reason == "length" and finished.new_tokens == 7


def test_too_many_requests_are_refused(model_files, open_remote, tokenizer):
    with serving(vllm(str(model_files), encode=tokenizer.encode)) as server:
        engine = open_remote(server, slots=1, queue=1)
        server.reply = [threading.Event()]
        request = greedy(tokenizer.encode("Say it."), 7)
        streams = [engine.generate(request), engine.generate(request)]
        with pytest.raises(EngineBusy, match="All 2 places"):
            engine.generate(request)
        for stream in streams:
            stream.close()
        server.reply = ["Hel", "lo."]
        healthy(engine, tokenizer)


def test_what_does_not_fit_is_refused_before_it_is_sent(server, open_remote, tokenizer):
    engine = open_remote(server)
    asked = len(server.seen)
    with pytest.raises(WindowError, match="window holds 256"):
        engine.generate(greedy([5] * 250, 7))
    with pytest.raises(RequestError, match="outside of 0 to"):
        engine.generate(greedy([10**6], 7))
    biased = greedy([5], 7)
    biased = replace(biased, sampling=replace(biased.sampling, logit_bias=((10**6, 1.0),)))
    with pytest.raises(RequestError, match="id of logit_bias is outside of 0 to") as caught:
        engine.generate(biased)
    assert caught.value.param == "logit_bias"
    for name in ("logprobs", "prompt_logprobs"):
        if name in engine.limitations:
            with pytest.raises(RequestError, match="server behind this page"):
                engine.generate(greedy([5], 7, **{name: 3}))
    if "ids" in engine.limitations:  # a person's text that spells a special token
        ids = [*tokenizer.encode("Say "), *tokenizer.encode("<|endoftext|>"), 5]
        with pytest.raises(RequestError, match=r"spells <\|endoftext\|>"):
            engine.generate(greedy(ids, 7))
    assert len(server.seen) == asked


def test_log_probabilities(kind, server, open_remote, tokenizer):
    engine = open_remote(server)
    if "logprobs" in engine.limitations:
        return
    stops = frozenset({tokenizer.eos_id})
    request = greedy(tokenizer.encode("Say it."), 20, logprobs=2, stop_ids=stops)
    pieces = [item for item in engine.generate(request) if hasattr(item, "logprobs")]
    assert all(len(piece.ids) == len(piece.logprobs) for piece in pieces)
    first = pieces[0].logprobs[0]
    assert first.logprob < 0 and first.top[0][0] in tokenizer.encode("Hel")


def test_log_probabilities_of_a_prompt(model_files, open_remote, tokenizer):
    with serving(vllm(str(model_files), encode=tokenizer.encode)) as server:
        engine = open_remote(server)
        ids = tokenizer.encode("Say it.")
        request = greedy(ids, 0, prompt_logprobs=2)
        _, _, finished = read(engine.generate(request))
        first, *others = finished.prompt_logprobs
        assert first is None and len(others) == len(ids) - 1
        assert others[0].logprob == -0.5 and [len(other.top) for other in others] == [2] * len(
            others
        )
        server.fault = "no reply"
        with pytest.raises(EngineError, match="something that is not a reply"):
            read(engine.generate(request))
        server.fault = None
        healthy(engine, tokenizer)


# -- what keeps it from starting -----------------------------------------------------------------


@pytest.mark.parametrize(
    "fault, words",
    [
        ("401", "ASSISTANT_ENDPOINT_KEY"),
        ("500", "failed"),
        ("garbage", "not a reply"),
        ("429", "room"),
    ],
)
def test_a_server_that_cannot_write_a_token(server, fault, words, open_remote):
    server.fault = fault
    with pytest.raises(SettingsError, match=words) as caught:
        open_remote(server)
    assert str(caught.value).startswith(f"--endpoint {server.url}")


def test_nothing_listens(open_remote):
    with pytest.raises(SettingsError, match="cannot be reached"):
        open_remote("http://127.0.0.1:9")


def test_the_key_is_sent(model_files, open_remote, tokenizer):
    with serving(vllm(str(model_files), encode=tokenizer.encode)) as server:
        open_remote(server, endpoint_key="s3cret")
        assert server.keys == {"Bearer s3cret"}


def test_without_a_tokenizer_it_does_not_start(open_remote):
    with serving(vllm("a name of its own")) as one, serving(transformers("x")) as other:
        with pytest.raises(SettingsError, match="no tokenizer of that name.*with --model"):
            open_remote(one, model="embedded")
        with pytest.raises(SettingsError, match="does not say which model.*with --model"):
            open_remote(other, model="embedded")


@pytest.mark.parametrize("name", ["~nosuchuser/x", "~/x", "é" * 200])
def test_a_name_that_can_be_no_folder(name, open_remote):
    with serving(vllm(name)) as server, pytest.raises(SettingsError, match="no tokenizer of that"):
        open_remote(server, model="embedded")
    if not name.startswith("~/"):
        with serving(vllm("x")) as server, pytest.raises(SettingsError, match="no tokenizer of"):
            open_remote(server, model=name)


def test_without_a_window_it_does_not_start(model_files, tmp_path, open_remote):
    (tmp_path / "tokenizer.json").write_bytes((model_files / "tokenizer.json").read_bytes())
    with serving(vllm("x", window=None)) as server:
        with pytest.raises(SettingsError, match="how long its model's window is"):
            open_remote(server, model=str(tmp_path))
        assert open_remote(server).window == 256  # from the checkpoint's config.json


def test_a_shorter_window_than_the_server_has(kind, server, open_remote, tokenizer):
    engine = open_remote(server, window=200)
    assert engine.window == 200
    ids = (200 * tokenizer.encode("Say it."))[:200]
    with pytest.raises(WindowError, match="window holds 200 in all"):
        engine.generate(greedy(ids, 1))
    with pytest.raises(SettingsError) as caught:
        open_remote(server, window=257)
    assert str(caught.value) == (
        "--window 257 is more than the server's model has: give at most its 256 tokens."
    )
    healthy(engine, tokenizer)


def test_a_server_that_is_none(open_remote):
    with (
        serving(lambda server: {}) as server,
        pytest.raises(SettingsError, match="not a kind of server"),
    ):
        open_remote(server)


def test_a_server_that_does_not_answer_to_that_name_says_so(open_remote):
    """As a copy of this program on another machine does without --allow-host."""
    refusal = 400, {"detail": "This server does not answer to that name; --allow-host adds one."}
    with serving(vllm("x")) as server:
        server.routes = dict.fromkeys([("GET", "/openapi.json"), ("GET", "/v1/models")])
        server.routes = {route: lambda _: refusal for route in server.routes}
        with pytest.raises(SettingsError, match="does not answer to that name; --allow-host adds"):
            open_remote(server)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_a_server_refuses_is_the_clients_own_error(server, status, open_remote, tokenizer):
    engine = open_remote(server)
    routes = server.routes
    refusal = status, {"error": {"message": "stop has too many."}}
    server.routes = {
        key: (lambda _: refusal) if "tokenize" not in key[1] else route
        for key, route in routes.items()
    }
    with pytest.raises(
        RequestError, match=rf"refuses the request \({status}\): stop has too many."
    ):
        healthy(engine, tokenizer)
    server.routes = routes
    healthy(engine, tokenizer)


@pytest.mark.parametrize(
    "route, answer",
    [
        ("/v1/models", {"data": 5}),
        ("/v1/models", {"data": [{"id": 7, "owned_by": "vllm"}]}),
        ("/v1/models", {"data": [{"id": "a\nb", "owned_by": ["vllm"]}]}),
        ("/v1/models", {"data": [{"id": "x", "owned_by": "llamacpp", "meta": 5}]}),
        ("/openapi.json", {"paths": 5}),
        ("/info", {"model_id": "x" * 1000}),
        ("/info", {"model_id": 5}),
    ],
)
def test_nonsense_about_a_server_is_one_sentence(route, answer, open_remote):
    with serving(lambda server: {("GET", route): lambda _: answer}) as server:
        with pytest.raises(SettingsError) as caught:
            open_remote(server, model="embedded")
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_another_model_than_the_server_is_pinned_to(open_remote):
    pinned = pytest.raises(SettingsError, match="pinned to 'other'")
    with serving(transformers("other")) as server, pinned:
        open_remote(server)


def test_the_model_is_found_by_the_name_that_the_server_tells(open_remote):
    with serving(vllm("/somewhere/tech-assistant-7m")) as server:
        engine = open_remote(server, model="embedded")
        assert engine.embedded and engine.model == "tech-assistant-7m" and engine.window == 256


def test_several_models(model_files, open_remote, tokenizer):
    with serving(vllm("a")) as server:
        models = {"data": [{"id": "a", "owned_by": "vllm"}, {"id": str(model_files)}]}
        server.routes["GET", "/v1/models"] = lambda _: models
        with pytest.raises(SettingsError, match="serves 2 models"):
            open_remote(server, model="embedded")
        healthy(open_remote(server), tokenizer)
        assert server.seen[-1][1]["model"] == str(model_files)


def test_the_tokenizer_of_llama_cpp(open_remote, tokenizer):
    """Without the model's files here, text becomes ids through the server's own routes."""
    with serving(llama_cpp("/models/model.gguf", tokenizer)) as server:
        engine = open_remote(server, model="embedded")
        served = engine.tokenizer
        assert engine.model == "model.gguf" and served.eos_id == tokenizer.eos_id
        for text in ("def f(x):", "é 日本", "<|endoftext|>", "half \ud83d"):
            ids = tokenizer.encode(text)
            if text.isascii():
                assert served.encode(text) == ids and served.decode(ids) == text
            assert tokenizer.eos_id not in served.encode(text)
        assert served.encode("<|endoftext|>", trusted=True) == [tokenizer.eos_id]
        healthy(engine, tokenizer)
        server.fault = "500"
        with pytest.raises(EngineError, match=r"failed \(500\)"):
            served.encode("x")


@pytest.mark.parametrize("space, bos", [("prepend", True), ("never", False), ("first", False)])
def test_a_sentencepiece_tokenizer_of_llama_cpp(tmp_path, open_remote, space, bos):
    """That server puts a blank before every text, of which encode() knows."""
    ours = load_tokenizer(make_metaspace_tokenizer(tmp_path, space, bos=bos))
    with serving(llama_cpp("/models/model.gguf", ours)) as server:
        served = open_remote(server, model="embedded").tokenizer
        assert served.bos_id == ours.bos_id == (1 if bos else None)
        assert served.end_ids == {served.eos_id}
        spelt = "a▁<PRE> b</s>c"
        for text in ("def f", " def f", "\n\ndef", "", *([] if space == "never" else [spelt])):
            for trusted in (False, True):
                for start in (False, True):
                    ids = ours.encode(text, trusted=trusted, start=start)
                    if "▁" not in text or trusted:
                        assert served.encode(text, trusted=trusted, start=start) == ids
                    if not start:
                        assert served.decode(ids) == text
        ids = [*([1] if bos else []), *ours.encode("def f", start=True)]
        assert "".join(served.texts(ids, start=True)) == "def f"


def test_a_text_that_is_sent_is_without_what_the_server_adds(tmp_path, open_remote):
    folder = make_metaspace_tokenizer(tmp_path)
    ours = load_tokenizer(folder)
    with serving(tgi(str(folder), ours.encode, eos=ours.eos_id)) as server:
        engine = open_remote(server, model=str(folder))
        prompt = Raw("def f</s> x").ids(ours)
        assert prompt[0] == ours.bos_id and ours.decode(prompt) == "<s> def f</s> x"
        [*generate(engine, greedy(prompt, 5), StopScanner())]
        assert server.seen[-1][1]["inputs"] == "def f</s> x"
        with pytest.raises(RequestError, match="The text spells <s>"):
            engine.generate(greedy([*prompt, *ours.encode("<s>")], 5))
        [*generate(engine, greedy(prompt, 5), StopScanner())]


def test_only_llama_cpp_knows_its_tokens(open_remote, tokenizer, monkeypatch):
    """Then a reply is its pieces' own text, and the loop that streams it never waits for that
    server."""
    ask = ServedTokenizer._ask

    def off_the_loop(self, *values):
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return ask(self, *values)

    with serving(llama_cpp("/models/model.gguf", tokenizer)) as server:
        server.reply = list("日本🙂é")
        engine = open_remote(server, model="embedded")
        done = [*generate(engine, greedy(tokenizer.encode("Say it."), 20), StopScanner())][-1]
        assert (done.text, done.ids) == ("日本🙂é", None)
        assert done.finished.new_tokens == len(tokenizer.encode(done.text))
        with pytest.raises(RequestError, match="give the model's folder"):
            engine.generate(greedy([5], 7, logprobs=1))
        with running(engine, max_new_tokens=100) as web:
            monkeypatch.setattr(ServedTokenizer, "_ask", off_the_loop)
            body = {"prompt": "Say it.", "echo": True}
            for stream in (False, True):
                answer = web.post("/v1/completions", json={**body, "stream": stream})
                assert answer.status_code == 200 and "error" not in answer.text
            assert web.post("/v1/completions", json=body).json()["choices"][0]["text"] == (
                "Say it.日本🙂é"
            )
            options = {"return_full_text": True, "details": True}
            answer = web.post("/generate", json={"inputs": "Say it.", "parameters": options})
            assert answer.json()["generated_text"] == "Say it.日本🙂é"
            answer = web.post("/v1/completions", json={"prompt": "x", "return_token_ids": True})
            assert "give the model's folder" in answer.json()["error"]["message"]
