"""All engines are Engines: mypy checks the types of this module, a test the names of parameters."""

import inspect

import pytest

from assistant.engine.local.engine import LocalEngine
from assistant.engine.protocol import Engine
from assistant.engine.remote.engine import RemoteEngine
from tests.support.fake_engine import FakeEngine

ENGINES: list[type[Engine]] = [LocalEngine, RemoteEngine, FakeEngine]
METHODS = [
    name for name, value in vars(Engine).items() if inspect.isfunction(value) and name[0] != "_"
]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_takes_what_the_protocol_says(engine: type[Engine], name: str) -> None:
    taken, said = (inspect.signature(getattr(one, name)).parameters for one in (engine, Engine))
    assert [(each.name, each.kind, each.default) for each in taken.values()] == [
        (each.name, each.kind, each.default) for each in said.values()
    ]
