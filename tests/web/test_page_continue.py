"""A raw prompt over HTTP: its tokens, its continuations, what each token could have been."""

import threading

import anyio
import pytest

from assistant.errors import EngineBusy
from assistant.sampling import PENALTY_MAX
from assistant.web.pages.aside import WAITING, Aside
from assistant.web.pages.events import ASIDE, BUSY
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, Refused, running
from tests.support.waiting import until

PROMPT = [["def f", True]]
NAN = float("nan")


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine("Yes.")) as server:
        yield server


@pytest.fixture
def page(server, script):
    script("Yes.")
    with Page(server.url) as page:
        yield page


def go_on(page, segments=PROMPT, **body):
    """Each continuation's (text, done or error, seed)."""
    with page.news("complete", segments=segments, **body) as stream:
        first, *rest = stream
    texts, ends = [each["text"] for each in first["versions"]], {}
    for step in rest:
        for news in step["news"]:
            texts[news["at"]] += news.get("text", "")
            if end := news.get("done") or news.get("error"):
                ends[news["at"]] = end
    seeds = [each["seed"] for each in first["versions"]]
    return [(text, ends.get(at), seeds[at]) for at, text in enumerate(texts)]


def look(page, segments, **body):
    return page.ask("look", {"segments": segments, **body}).json()


# -- what the prompt is ------------------------------------------------------------------------


def test_special_tokens_that_are_spelt_count_unless_their_text_is_not_trusted(server, page):
    prompt = [["<fim_prefix>a", True], ["<fim_suffix>", False], ["\n<fim_prefix>", True]]
    told = look(page, prompt, pieces=True)
    assert told["special"] == [["<fim_prefix>", 2]] and told["alike"] == 1
    assert told["count"] == len(told["pieces"]) == 2 + 1 + len("<fim_suffix>") + 1
    assert "".join(text for text, *_ in told["pieces"]) == "".join(text for text, _ in prompt)
    literal = look(page, prompt, special=False)
    assert literal["special"] == [] and literal["alike"] == 3 and literal["pieces"] == []
    assert look(page, [])["count"] == 0

    go_on(page, prompt)
    ids = server.engine.requests[-1].ids
    assert (
        ids.count(1) == 2
        and 3 not in ids
        and server.engine.prompt() == prompt[0][0] + ("<fim_suffix>\n<fim_prefix>")
    )
    go_on(page, prompt, special=False)
    assert min(server.engine.requests[-1].ids) >= 5


def test_text_is_exact(server, page):
    text = "\tif x:\r\n\t\treturn  \n\n  é\u00a0\u200d🙂 "
    go_on(page, [[text, True]])
    assert server.engine.prompt() == text


def test_long_prompts_are_looked_at_in_threads_that_no_reply_needs(page, monkeypatch):
    name = threading.current_thread().name
    seen = []
    monkeypatch.setattr(
        "assistant.web.pages.playground.continuing.read_prompt",
        lambda segments: seen.append(threading.current_thread().name) or FakeRaw,
    )

    class FakeRaw:
        text = ""

    assert look(page, [["a", True]])["count"] == 0
    assert seen and name not in seen and "MainThread" not in seen


def test_texts_of_tokens_are_made_only_where_they_are_listed(server, page, monkeypatch):
    def texts(ids, *, start=False, texts=server.engine.tokenizer.texts):
        made.append(len(ids))
        return texts(ids, start=start)

    made = []
    monkeypatch.setattr(server.engine.tokenizer, "texts", texts)
    prompt = [["<fim_prefix>" + "a" * 3_000, True]]
    told = look(page, prompt)
    assert (told["count"], told["special"], made) == (3_001, [["<fim_prefix>", 1]], [])
    assert len(look(page, prompt, pieces=True)["pieces"]) == made[0] == 2_000


def test_only_so_many_wait_for_a_thread():
    async def asked():
        aside, held = Aside(), threading.Event()
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(ASIDE + WAITING):
                    tasks.start_soon(aside.do, held.wait)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(EngineBusy, match="try again"):
                    await aside.do(int)
                held.set()
        finally:
            held.set()
        assert await aside.do(int) == 0

    anyio.run(asked)


# -- how it goes on ----------------------------------------------------------------------------


def test_several_are_written_at_once_with_seeds_of_their_own(server, page, script):
    script(lambda request: f" seed {request.sampling.seed}")
    found = go_on(page, count=3, sampling={"seed": 7, "temperature": 1.5, "min_p": 0.1})
    assert [(text, seed) for text, _, seed in found] == [
        (" seed 7", 7), (" seed 8", 8), (" seed 9", 9)
    ]  # fmt: skip
    done = found[0][1]
    assert done["text"] == " seed 7" and done["reason"] == "stop" and done["new_tokens"] >= 7
    assert server.engine.tokenizer.decode(done["ids"]) == " seed 7"
    assert "tokens/s" in done["note"] or "finished" in done["note"]
    asked = server.engine.requests[-1].sampling
    assert (asked.temperature, asked.min_p, asked.top_p) == (1.5, 0.1, 0.95)


def test_it_ends_at_a_stop_string_and_at_the_limit(page, script):
    script("one stop two")
    ((text, done, _),) = go_on(page, stop=["stop", "\n\n"])
    assert text == "one " and done["stopped_by"] == "stop"
    ((text, done, _),) = go_on(page, max_new_tokens=3)
    assert text == "one" and done["reason"] == "length"


def test_stopping_keeps_what_is_there(server, page, script):
    held = threading.Event()
    script(["Once ", held])
    with page.news("complete", segments=PROMPT, count=2, run="number-1") as stream:
        until(lambda: server.health()["running"] == 2)
        assert "seed" in next(stream)["versions"][0]
        with pytest.raises(Refused, match=BUSY), page.news("complete", segments=PROMPT,
                                                          run="number-1"):  # fmt: skip
            pass
        assert page.ask("complete/stop", {"run": "number-1"}).json() == {"stopped": True}
        ends = [news["done"] for step in stream for news in step["news"] if "done" in news]
    assert [end["reason"] for end in ends] == ["cancelled"] * 2
    assert page.ask("complete/stop", {"run": "number-1"}).json() == {"stopped": False}


def test_leaving_frees_the_slots(server, page, script):
    script(["Once ", threading.Event()])
    with page.news("complete", segments=PROMPT, count=3) as stream:
        next(stream)
        assert server.health()["running"] == 3
    until(lambda: server.health()["running"] == 0)


def test_a_continuation_that_breaks_leaves_the_others(page, script):
    from assistant.errors import EngineError

    script(lambda request: ["a", EngineError("It broke.")] if request.sampling.seed else "b")
    assert [(text, bool(end)) for text, end, _ in go_on(page, count=2, sampling={"seed": 0})] == [
        ("b", True), ("a", True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body, sentence",
    [
        ({"segments": []}, "The prompt is empty."),
        ({"segments": [5]}, "list of texts"),
        ({"segments": [[5, True]]}, "list of texts"),
        ({"segments": [["a" * 200_001, True]]}, "200,000"),
        ({"max_new_tokens": 0}, "max_new_tokens must be"),
        ({"max_new_tokens": NAN}, "max_new_tokens must be"),
        ({"max_new_tokens": 9000}, "max_new_tokens must be"),
        ({"count": 0}, "number of continuations must be from 1 to 4, not 0"),
        ({"count": 5}, "number of continuations"),
        ({"count": NAN}, "number of continuations"),
        ({"sampling": {"seed": "not a seed"}}, "seed must be"),
        ({"sampling": {"temperature": NAN}}, "temperature must be"),
        ({"sampling": {"top_p": None}}, "top_p must be"),
        ({"sampling": {"top_k": 10**9}}, "top_k must be"),
        ({"sampling": {"repetition_penalty": PENALTY_MAX + 1}}, "repetition_penalty must be"),
        ({"sampling": {"min_p": 2}}, "min_p must be"),
        ({"stop": ["a"] * 65}, "At most 64 stop strings"),
        ({"stop": ["a" * 257]}, "1 to 256 characters"),
        ({"stop": "abc"}, "stop must be a list"),
        ({"begun": [10**9]}, "Token ids must be"),
        ({"begun": "abc"}, "Token ids must be"),
        ({"begun": 7}, "Token ids must be"),
    ],
)
def test_what_cannot_be_continued_is_refused_in_a_sentence(server, page, body, sentence):
    body = {"run": "number-2", "segments": PROMPT, **body}
    answer = page.ask("complete", body)
    assert answer.status_code == 400 and sentence in answer.json()["error"]["message"], answer.text
    assert server.engine.requests == []


# -- its tokens --------------------------------------------------------------------------------


def inspect(page, text, ids=None, segments=PROMPT):
    with page.news("inspect", segments=segments, text=text, ids=ids) as stream:
        return list(stream)[-1]


def test_tokens_are_inspected_and_gone_on_from(server, page, script):
    script("def")
    ids = server.engine.tokenizer.encode("abc")
    for known in (ids, None):
        tokens = inspect(page, "abc", known)["tokens"]
        assert [token[:2] for token in tokens] == [[c, i] for c, i in zip("abc", ids, strict=True)]
        assert all(token[2] < 0 and len(token[3]) == 10 for token in tokens)
    choice, text, _ = tokens[2][3][0]
    ((whole, done, _),) = go_on(page, begun=[*ids[:2], choice])
    assert whole == done["text"] == f"ab{text}def"
    assert done["ids"] == [*ids[:2], choice, *server.engine.tokenizer.encode("def")]
    assert server.engine.prompt() == f"def fab{text}"
    assert "no tokens to inspect" in inspect(page, "", [])["error"]
    assert "Token ids must be" in inspect(page, "a", [-1])["error"]


def test_a_branch_may_begin_in_half_a_character_or_in_a_stop_string(server, page, script):
    encode = server.engine.tokenizer.encode
    half, rest = (encode("é")[n : n + 1] for n in (0, 1))
    script([(*rest, *encode("z"))])
    ((_, done, _),) = go_on(page, begun=half)
    assert done["text"] == "éz" and done["ids"] == [*half, *rest, *encode("z")]
    script("D rest")
    ((_, done, _),) = go_on(page, begun=encode("xxEN"), stop=["END"])
    assert done["text"] == "xx" and done["ids"] is None
