import dataclasses

import pytest

from assistant.errors import SettingsError
from assistant.settings import Settings, read_settings


def read(line="", **environ):
    return read_settings(line.split(), environ)


def test_defaults():
    settings = read()
    assert settings == Settings()
    assert settings.model == "embedded"
    assert (settings.host, settings.port, settings.on_loopback) == ("127.0.0.1", 7860, True)
    assert (settings.slots, settings.queue, settings.max_new_tokens) == (8, 64, 512)
    assert not (settings.share or settings.on_space or settings.allow_bin)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.port = 1


FLAGS = [
    ("model", "bigcode/starcoder", "bigcode/starcoder"),
    ("revision", "v1.0", "v1.0"),
    ("adapter", "org/lora@v1.0", "org/lora@v1.0"),
    ("device", "cuda:1", "cuda:1"),
    ("dtype", "int8", "int8"),
    ("prompt", "hub:bigcode/ta-prompt", "hub:bigcode/ta-prompt"),
    ("max_new_tokens", "1024", 1024),
    ("slots", "2", 2),
    ("window", "4096", 4096),
    ("queue", "0", 0),
    ("threads", "3", 3),
    ("host", "0.0.0.0", "0.0.0.0"),
    ("port", "0", 0),
    ("auth", "ada:s3cret:word", ("ada", "s3cret:word")),
    ("allow_host", "chat.example", ("chat.example",)),
    ("allow_origin", "app://notes.example", ("app://notes.example",)),
    ("root_path", "/chat/", "/chat"),
    ("max_requests_per_minute", "30", 30),
    ("endpoint", "http://gpu:8000/v1/", ("http://gpu:8000",)),
    ("api_key", "s3cret", "s3cret"),
    ("sources", "my.db", "my.db"),
    ("attribution", "https://team.example/sources/", "https://team.example/sources/overlap"),
]


def test_every_setting_has_a_flag_or_comes_from_the_space():
    names = {field.name for field in dataclasses.fields(Settings)}
    flags = {name for name, _, _ in FLAGS} | {"allow_bin", "share", "access_log", "endpoint_key"}
    flags |= {"accept_license"}
    assert names == flags | {"space_host", "on_space"}


@pytest.mark.parametrize("name, text, value", FLAGS)
def test_a_flag_and_its_variable(name, text, value):
    flag, variable = "--" + name.replace("_", "-"), "ASSISTANT_" + name.upper()
    assert getattr(read(f"{flag} {text}"), name) == value
    assert getattr(read(f"{flag}={text}"), name) == value
    assert read(**{variable: text}) == read(f"{flag} {text}")
    assert read(**{variable: text}) != read()


@pytest.mark.parametrize("name", ["model", "host", "revision", "prompt", "device"])
def test_a_flag_wins_over_its_variable(name):
    settings = read(f"--{name} flag", **{f"ASSISTANT_{name.upper()}": "variable"})
    assert getattr(settings, name) == "flag"


@pytest.mark.parametrize("name", ["share", "allow_bin", "access_log"])
def test_switches(name):
    variable = "ASSISTANT_" + name.upper()
    assert getattr(read("--" + name.replace("_", "-")), name) is True
    for text in ("1", "true", "Yes", "ON"):
        assert getattr(read(**{variable: text}), name) is True
    for text in ("0", "false", "No", "off", ""):
        assert getattr(read(**{variable: text}), name) is False
    with pytest.raises(SettingsError, match=f"{variable} 'maybe' is neither true nor false"):
        read(**{variable: "maybe"})


def test_several_hosts():
    assert read("--allow-host a --allow-host b").allow_host == ("a", "b")
    assert read(ASSISTANT_ALLOW_HOST="a, b,").allow_host == ("a", "b")


def test_several_endpoints():
    line = "--endpoint http://a:1 --endpoint https://b/base/v1 --endpoint http://a:1/"
    assert read(line).endpoint == ("http://a:1", "https://b/base")
    assert read(ASSISTANT_ENDPOINT="http://a:1, https://b/base") == read(line)


def test_an_adapter_is_for_a_model_that_is_computed_here():
    with pytest.raises(SettingsError, match="with --endpoint, give it to that server"):
        read("--adapter lora --endpoint http://a:1")
    assert read("--endpoint http://a:1", ASSISTANT_ADAPTER="").endpoint


def test_the_key_of_the_endpoints(tmp_path):
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    settings = read(f"--endpoint-key-file {file}")
    assert settings.endpoint_key == "s3cret" and "s3cret" not in repr(settings)
    assert read(ASSISTANT_ENDPOINT_KEY="s3cret").endpoint_key == "s3cret"
    file.write_bytes(b"\xff")
    for path, words in ((file, "cannot be read"), (tmp_path / "none", "No such file")):
        with pytest.raises(SettingsError, match=words):
            read(f"--endpoint-key-file {path}")
    with pytest.raises(SettingsError, match="must hold a key") as caught:
        read(ASSISTANT_ENDPOINT_KEY="two w0rds")
    assert "w0rds" not in str(caught.value)


@pytest.mark.parametrize("name", ["api_key", "endpoint_key"])
def test_an_empty_key_is_no_open_door(name):
    variable = f"ASSISTANT_{name.upper()}"
    with pytest.raises(SettingsError, match=f"The variable {variable} must hold a key"):
        read(**{variable: ""})
    with pytest.raises(SettingsError, match=f"The variable {variable}_FILE is empty"):
        read(**{f"{variable}_FILE": ""})
    assert getattr(read(), name) is None


def test_on_a_space():
    settings = read(SPACE_ID="ada/chat", SPACE_HOST="ada-chat.hf.space")
    assert settings.on_space and not settings.on_loopback
    assert (settings.host, settings.port) == ("0.0.0.0", 7860)
    assert settings.space_host == "ada-chat.hf.space"
    assert read("--host 127.0.0.1", SPACE_ID="ada/chat").on_loopback


@pytest.mark.parametrize(
    "host, loopback",
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback(host, loopback):
    assert read(f"--host {host}").on_loopback is loopback


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("port", "65536", "must be a whole number from 0 to 65535, not '65536'"),
        ("port", "http", "must be a whole number from 0 to 65535, not 'http'"),
        ("port", "1.5", "must be a whole number"),
        ("slots", "0", "must be a whole number from 1 to 256, not '0'"),
        ("window", "255", "must be a whole number from 256 to 10000000, not '255'"),
        ("window", "16k", "must be a whole number from 256 to 10000000, not '16k'"),
        ("queue", "99999", "must be a whole number from 0 to 10000, not '99999'"),
        ("max_new_tokens", "0", "must be a whole number from 1 to 1000000, not '0'"),
        ("max_requests_per_minute", "-1", "must be a whole number from 0 to 100000"),
        ("auth", "s3cret", "must have the form USER:PASSWORD"),
        ("auth", ":s3cret", "must have the form USER:PASSWORD"),
        ("auth", "s3cret:", "must have the form USER:PASSWORD"),
        ("root_path", "chat", "must start with a slash, not 'chat'"),
        ("dtype", "int3", "int3"),
        ("attribution", "team", "must be an address like http://HOST:8000, not 'team'"),
        ("endpoint", "gpu:8000", "must be an address like http://HOST:8000, not 'gpu:8000'"),
        ("endpoint", "http://gpu:99999", "must be an address"),
        ("endpoint", "http://ada:s3cret@gpu", "must hold no name and no password"),
    ],
)
def test_a_bad_value_is_named_in_one_sentence(name, text, words):
    flag, variable = "--" + name.replace("_", "-"), "ASSISTANT_" + name.upper()
    for arguments, environ, named in (
        ([f"{flag}={text}"], {}, flag),
        ([], {variable: text}, variable),
    ):
        with pytest.raises(SettingsError) as caught:
            read_settings(arguments, environ)
        sentence = str(caught.value)
        assert named in sentence and words in sentence
        assert sentence.endswith(".") and "\n" not in sentence
        assert "s3cret" not in sentence


@pytest.mark.parametrize("line", ["--modle x", "x", "--port", "--mod x", "--share=yes"])
def test_an_unknown_flag_is_refused(line):
    with pytest.raises(SettingsError, match="--help lists the flags.$"):
        read(line)


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as caught:
        read("--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for name, _, _ in FLAGS:
        assert "--" + name.replace("_", "-") in shown


def test_no_secret_in_the_repr():
    settings = read("--auth ada:s3cret", HF_TOKEN="hf_s3cret")
    assert "s3cret" not in repr(settings) + str(settings)


def test_other_variables_are_left_alone():
    assert read(ASSISTANT_="x", ASSISTANT_HELP="x", ASSISTANT_UNKNOWN="x", PORT="1") == read()
