"""The real model in the engine, as people open it."""

import contextlib

import pytest

from assistant.engine.open import open_engine
from assistant.settings import Settings
from tests.support.smollm2 import FILE

WINDOW = 2048  # of the model's 8,192: enough for each prompt here, and filled four times as soon


@pytest.fixture(scope="session")
def opened():
    """An engine with the model in a dtype, for as long as a block lasts."""
    if not FILE.exists():
        pytest.skip("there is no real model here; make test-real fetches it")

    @contextlib.contextmanager
    def opened(dtype):
        settings = Settings(model=str(FILE), device="cpu", dtype=dtype, slots=4, window=WINDOW)
        engine = open_engine(settings)
        try:
            yield engine
        finally:
            engine.close()

    return opened


@pytest.fixture(scope="session")
def engine(opened):
    with opened("float32") as engine:
        yield engine
