"""A LoRA on the embedded checkpoint: all that is said of it, from the flag to the receipt."""

import json

import httpx
import pytest

from assistant.engine.local.engine import LocalEngine
from assistant.prompting.choose import find_template, suitable_template
from assistant.settings import Settings
from assistant.web.pages.chat.tab import CONTINUES, INTRO
from assistant.web.pages.page import EXAMPLES, examples_for
from tests.support.adapters import factors, write_adapter
from tests.support.server import Page, running


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    tensors = factors("transformer.h.0.mlp.c_proj", 256, 1024)
    folder = write_adapter(tmp_path_factory.mktemp("adapters") / "lora", tensors, lora_alpha=1e-3)
    settings = Settings(port=0, adapter=str(folder), device="cpu", dtype="float32", threads=1)
    engine = LocalEngine.open(settings)
    try:
        assert suitable_template(engine) == "tech-assistant-short"
        template = find_template("tech-assistant-short", engine)
        with running(engine, settings, template=template, max_new_tokens=8) as server:
            yield server
    finally:
        engine.close()


def test_what_runs_is_told(server):
    named = server.engine.adapter
    assert named.startswith("lora · ")
    assert server.health()["adapter"] == named
    (card,) = httpx.get(f"{server.url}/v1/models").json()["data"]
    assert (card["id"], card["adapter"]) == (server.engine.model, named)


def test_a_receipt_names_it_and_is_of_no_other(server):
    with Page(server.url) as page:
        receipt = page.chat("What is a list?")[-1]["receipt"]
        assert receipt["adapter"] == server.engine.adapter
        for other in (None, "lora · 0123456789ab"):
            body = {"run": "number-1", "turns": page.turns, "receipt": receipt | {"adapter": other}}
            assert "; here it has the adapter lora · " in page.ask("again", body).text
        with page.news("again", run="number-1", turns=page.turns, receipt=receipt) as news:
            assert list(news)[-1]["compared"]["why"] is None


def test_what_the_embedded_model_knows_is_not_said_of_it(server):
    engine = server.engine
    assert engine.embedded and examples_for(engine) == EXAMPLES
    with Page(server.url) as page:
        shown = json.dumps(page.config, ensure_ascii=False)
    assert f"{engine.model} + {engine.adapter}" in shown
    facts = httpx.get(f"{server.url}/page/facts").json()
    assert (facts["intro"], facts["continues"]) == (INTRO, CONTINUES)
