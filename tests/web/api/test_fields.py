"""The list of fields against the clients' own types: nothing that they can send is passed over."""

import dataclasses

import huggingface_hub
import pytest
from openai.types import completion_create_params as raw_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params

from assistant.errors import RequestError
from assistant.web.api import llama
from assistant.web.api.fields import COUNTS, HARMLESS, REFUSED, refuse_unsupported
from assistant.web.api.openai_schema import ChatBody, CompletionBody
from assistant.web.api.responses import ResponseBody
from assistant.web.api.tgi import Parameters


def keys(params):
    return set(params.__annotations__) - {"stream"}


def names(kind):
    return {field.name for field in dataclasses.fields(kind)}


CLIENTS = {
    "openai chat": (ChatBody, keys(chat_create_params.CompletionCreateParamsBase)),
    "openai completions": (CompletionBody, keys(raw_create_params.CompletionCreateParamsBase)),
    "openai responses": (ResponseBody, keys(response_create_params.ResponseCreateParamsBase)),
    "hub chat": (ChatBody, names(huggingface_hub.ChatCompletionInput)),
    "hub text": (Parameters, names(huggingface_hub.TextGenerationInputGenerateParameters)),
}  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
def test_every_field_of_a_client_is_on_the_list(client):
    body, sent = CLIENTS[client]
    assert len(sent) > 15
    assert sent - set(body.model_fields) - HARMLESS - REFUSED.keys() == set()


def test_each_field_has_one_verdict():
    assert not HARMLESS & REFUSED.keys()
    for body in (ChatBody, CompletionBody, ResponseBody, Parameters, llama.Body, llama.InfillBody):
        assert not HARMLESS & body.model_fields.keys()


def test_a_refused_field_passes_where_it_asks_for_nothing():
    for name, entry in REFUSED.items():
        nothing = (None, False, "", [], {}, *entry.off)
        for value in nothing if name in COUNTS else (0, 0.0, *nothing):
            refuse_unsupported({name: value, "unheard_of": 5}, ())
        with pytest.raises(RequestError) as caught:
            refuse_unsupported({name: "something"}, ())
        assert caught.value.param == name
        assert str(caught.value).startswith(f"{name} ") and str(caught.value).endswith(".")
        refuse_unsupported({name: "something"}, {name})  # a body that does it


@pytest.mark.parametrize("name", COUNTS)
def test_none_of_them_is_not_the_same_as_not_asked(name):
    with pytest.raises(RequestError, match=name):
        refuse_unsupported({name: 0}, ())


@pytest.mark.parametrize("body", [None, [], "x", 5, [["tools", 1]]])
def test_what_is_no_object_is_left_to_the_body(body):
    refuse_unsupported(body, ())
