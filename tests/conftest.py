"""What all tests share: an environment without this machine's accounts, and a small checkpoint."""

import os
import tempfile

import httpx
import hypothesis
import pytest

from tests.support.checkpoints import make_checkpoint, make_tokenizer

# huggingface_hub reads its variables when it is first imported, which a test module may do while
# tests are collected: before any fixture. So the environment is cleared here. Whatever slips
# through meets an endpoint where nothing listens, never the real hub.
_FOREIGN = ("HF_", "HUGGING", "ASSISTANT_", "GRADIO_", "SPACE_", "TRANSFORMERS_", "SSL")
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FORWARDED_ALLOW_IPS"}
for _name in list(os.environ):
    if _name.startswith(_FOREIGN) or _name.upper() in _PROXIES:
        del os.environ[_name]
_home = tempfile.TemporaryDirectory(prefix="tech-assistant-tests-")  # removed when the run ends
os.environ |= {
    "HF_HOME": _home.name,
    "XDG_CACHE_HOME": _home.name,
    "HF_ENDPOINT": "http://127.0.0.1:9",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}

# A busy machine is no failure: no deadline, and httpx waits longer than its 5 seconds.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("here")
for _part in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _part, 60)


collect_ignore = ["clients"]  # run by make test-clients in an environment of their own


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """The folder of a random checkpoint with 256 positions; copy it before changing a file."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def model_files(tmp_path_factory):
    """The folder of a model with 256 positions, without weights: what is needed here of one that
    another server has."""
    folder = make_tokenizer(tmp_path_factory.mktemp("checkpoints") / "files")
    (folder / "config.json").write_text('{"n_positions": 256}')
    return folder


@pytest.fixture(scope="session")
def tokenizer(model_files):
    from assistant.engine.tokenizer import load_tokenizer

    return load_tokenizer(model_files)


@pytest.fixture
def open_remote(model_files):
    """Opens engines in front of servers, or addresses, that have that model unless
    options (of Settings) say otherwise; closes them at the end."""
    from assistant.engine.open import open_engine
    from assistant.settings import Settings

    engines = []

    def open_remote(*servers, **options):
        urls = tuple(getattr(server, "url", server) for server in servers)
        engines.append(
            open_engine(Settings(**{"model": str(model_files), **options}, endpoint=urls))
        )
        return engines[-1]

    yield open_remote
    for engine in engines:
        engine.close()


@pytest.fixture(scope="session")
def starcoder_tokenizer():
    """StarCoder's own tokenizer, from the folder that STARCODER_TOKENIZER names; else a skip."""
    folder = os.environ.get("STARCODER_TOKENIZER")
    if not folder:
        pytest.skip("STARCODER_TOKENIZER names no folder with StarCoder's tokenizer")
    from assistant.engine.tokenizer import load_tokenizer

    return load_tokenizer(folder)


# For tests in a browser. Each of their modules has a `server`, a tests.support.server.Running.


@pytest.fixture(scope="module")  # a module's own: as long as it runs, it holds asyncio's place
def browser():
    from tests.support.browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def script(server):
    """Sets what the engine of `server` writes; at the end nothing may run any more."""

    def set_script(value):
        server.engine.script = value

    server.engine.requests.clear()
    yield set_script
    server.idle()


@pytest.fixture
def page(browser, server, script):
    from tests.support.browser import opened

    with opened(browser, server.url) as page:
        yield page
