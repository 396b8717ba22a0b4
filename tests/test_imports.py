"""The rules that hold for the source itself: imports run one way, and modules stay small.

Reads the source, Python with ast; only the last tests import anything, each in its own process.
"""

import ast
import graphlib
import posixpath
import re
import shutil
import subprocess
import sys

import pytest

from assistant.paths import ROOT, STATIC

LINES_MAX = 300

# Each room may import those of its own line and of the lines below it, never those above.
LEVELS = (
    {"app"},
    {"__main__"},
    {"web"},
    {"completion", "evaluation"},
    {"chat"},
    {"generation"},
    {"prompting", "conversation"},
    {"engine", "attribution"},
    {"grammar", "sampling", "text", "hub", "settings", "errors", "paths"},
)
# The same for what is inside of a room.
INSIDE = {
    "engine": (
        {"open"},
        {"checkpoint", "local", "remote"},
        {"model", "tokenizer", "stream", "check", "prefix"},
        {"device", "chat_files"},
        {"card", "files", "protocol", "vocabulary"},
    ),
    "web": (
        {"app"},
        {"pages", "api"},
        {"sources", "polling", "event_stream", "server", "scripts"},
        {"loading", "gate"},
        {"gradio_inside", "gradio_sessions"},
    ),
}
# It stands apart: the web alone joins it with replies, and it knows none of the others.
APART = {"attribution": {"attribution", "sampling", "text", "settings", "errors", "paths"}}
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
LEVEL_INSIDE = {
    outer: {room: level for level, rooms in enumerate(levels) for room in rooms}
    for outer, levels in INSIDE.items()
}

# Who may import a package at all; everybody else may not.
ONLY = {
    "torch": ("assistant.engine.", "training.", "benchmarks."),
    "transformers": ("assistant.engine.", "training.", "benchmarks."),
    "triton": ("assistant.engine.",),
    "gradio": ("assistant.web.",),
    "fastapi": ("assistant.web.",),
    "starlette": ("assistant.web.",),
    "uvicorn": ("assistant.web.",),
    "prometheus_client": ("assistant.web.",),
}
# A package's doors: they may not import torch, not even late.
NEVER = {"assistant.engine.protocol": {"torch", "transformers", "triton"}}


def modules():
    """The product's modules, name to source: app.py, assistant/, training/ and benchmarks/."""
    paths = [ROOT / "app.py"] if (ROOT / "app.py").exists() else []
    for folder in ("assistant", "training", "benchmarks"):
        paths += sorted((ROOT / folder).rglob("*.py"))
    named = {}
    for path in paths:
        parts = path.relative_to(ROOT).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text("utf-8")
    return named


MODULES = modules()


def imports(name, source, known, *, late=True):
    """The modules that `source` imports, dotted; without `late`, not those inside functions."""
    found = set()
    package = (
        name if any(other.startswith(name + ".") for other in known) else name.rpartition(".")[0]
    )
    nodes = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            stem = (
                ".".join([*base, node.module] if node.module else base)
                if node.level
                else node.module
            )
            inner = {f"{stem}.{alias.name}" for alias in node.names}
            found |= inner & set(known) or {stem}
        if late or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            nodes += ast.iter_child_nodes(node)
    return found


def room(name):
    """assistant.engine.local.engine is in the room engine, app.py in the room app."""
    parts = name.split(".")
    return parts[1] if parts[0] == "assistant" and len(parts) > 1 else parts[0]


def inner_room(name):
    """assistant.engine.local.step is in the inner room local of the engine."""
    return (*name.split("."), "", "")[2]


def violations(name, source, known=None):
    """What is wrong with the imports of one module, as sentences."""
    known = MODULES if known is None else known
    wrong = []
    for target in sorted(imports(name, source, known)):
        top = target.partition(".")[0]
        owners = ONLY.get(top)
        if owners and not f"{name}.".startswith(owners):
            wrong.append(f"{name} imports {top}")
        if top in NEVER.get(name, ()):
            wrong.append(f"{name} imports {top}, if late")
        inside = name == "app" or name.startswith("assistant")
        if inside and top in ("training", "benchmarks", "tests"):
            wrong.append(f"{name} imports {target}")
        if inside and top in ("assistant", "app") and "assistant" not in (name, target):
            if room(name) not in LEVEL or room(target) not in LEVEL:
                wrong.append(f"{name} or {target} has no line in LEVELS")
            elif LEVEL[room(target)] < LEVEL[room(name)]:
                wrong.append(f"{name} imports {target}, which stands above it")
            elif room(name) == room(target) and room(name) in INSIDE:
                levels = LEVEL_INSIDE[room(name)]
                above, below = (levels.get(inner_room(each)) for each in (name, target))
                if None in (above, below):
                    wrong.append(f"{name} or {target} has no line in INSIDE")
                elif below < above:
                    wrong.append(f"{name} imports {target}, which stands above it")
            elif room(target) not in APART.get(room(name), LEVEL):
                wrong.append(f"{name} imports {target}, and should stand apart")
            elif room(target) in APART and room(name) not in ("__main__", "web", room(target)):
                wrong.append(f"{name} imports {target}, which stands apart")
    return wrong


def circle(sources):
    """The modules of a circle of imports at module level, or None."""
    return circle_in(
        {
            name: {
                target
                for target in imports(name, source, sources, late=False)
                if target in sources and target != name
            }
            for name, source in sources.items()
        }
    )


def circle_in(graph):
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return None


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_one_way(name):
    assert violations(name, MODULES[name]) == []


def test_no_circle():
    assert circle(MODULES) is None


@pytest.mark.parametrize(
    "name, source",
    [
        ("assistant.errors", "from assistant.sampling import Sampling\nimport assistant.chat"),
        ("assistant.engine.local.step", "from assistant.prompting import template"),
        ("assistant.engine.local.step", "from ...prompting import template"),
        ("assistant.engine.local.step", "from assistant.engine import open"),
        ("assistant.engine.model.linear", "from assistant.engine.local import step"),
        ("assistant.engine.protocol", "from assistant.engine.model import linear"),
        ("assistant.engine.unheard_of", "import assistant.engine.protocol"),
        ("assistant.web.gate.limit", "from assistant.web.pages import page"),
        ("assistant.web.polling", "import assistant.web.api.openai"),
        ("assistant.web.event_stream", "from assistant.web.pages.chat import stream"),
        ("assistant.generation.window", "def f():\n    from assistant import chat"),
        ("assistant.chat.assistant", "import torch.nn"),
        ("assistant.chat.assistant", "from assistant.unheard_of import x"),
        ("assistant.chat.assistant", "if True:\n    import gradio as gr"),
        ("assistant.engine.protocol", "def f():\n    import torch"),
        ("assistant.web.pages.page", "from transformers import AutoModel"),
        ("assistant.web.pages.page", "import tests.fakes"),
        ("assistant.web.pages.page", "import app"),
        ("assistant.__main__", "import fastapi"),
        ("assistant.attribution.index", "from assistant.engine.protocol import Request"),
        ("assistant.chat.assistant", "import assistant.attribution"),
        ("training.train", "import gradio"),
    ],
)
def test_a_violation_is_found(name, source):
    assert violations(name, source, {*MODULES, name})


def test_a_circle_is_found():
    circular = {"assistant.text": "import assistant.hub", "assistant.hub": "import assistant.text"}
    assert circle(circular)
    late = circular | {"assistant.hub": "def f():\n    import assistant.text"}
    assert circle(late) is None


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_small_and_say_what_they_are(name):
    assert MODULES[name].count("\n") < LINES_MAX
    assert ast.get_docstring(ast.parse(MODULES[name]))


# -- the page's scripts ------------------------------------------------------------------------

# What a folder of static/ may import beside itself; main.js joins them all.
SCRIPT_ROOMS = {
    "lib": set(),
    "store": {"lib"},
    "files": {"lib", "store"},
    "reading": {"lib"},
    "composer": {"lib", "store"},
    "chat": {"lib", "store", "files", "composer", "reading"},
    "frame": {"lib", "store", "files", "composer", "chat"},
    "playground": {"lib", "store"},
    "attribution": {"lib", "store"},
    "templates": {"lib", "store"},
    "": {
        "lib",
        "store",
        "files",
        "composer",
        "chat",
        "frame",
        "playground",
        "attribution",
        "templates",
    },
}
CLASSIC = {"start.js", "stream.js"}  # they run within the page, as they are
IMPORT = re.compile(
    r"""(?:^(?:import|export)\b(?:[^"';=(]*?\bfrom)?\s*|\bimport\()["']([^"']+)["']""", re.M
)
SCRIPTS = {
    path.relative_to(STATIC).as_posix(): path.read_text("utf-8")
    for path in sorted(STATIC.rglob("*.js"))
}


def script_imports(name, source):
    """The modules that a script imports, as paths in static/."""
    folder = posixpath.dirname(name)
    return {posixpath.normpath(posixpath.join(folder, each)) for each in IMPORT.findall(source)}


def script_violations(name, source):
    """What is wrong with the imports of one script, as sentences."""
    room = posixpath.dirname(name)
    return [
        f"{name} imports {target}"
        for target in sorted(script_imports(name, source))
        if target not in SCRIPTS
        or target in CLASSIC
        or posixpath.dirname(target) not in SCRIPT_ROOMS[room] | {room}
    ]


@pytest.mark.parametrize("name", sorted(SCRIPTS.keys() - CLASSIC))
def test_scripts_import_one_way(name):
    assert script_violations(name, SCRIPTS[name]) == []


def test_scripts_have_no_circle_and_each_is_imported():
    graph = {name: script_imports(name, SCRIPTS[name]) for name in SCRIPTS.keys() - CLASSIC}
    assert circle_in(graph) is None
    assert set().union(*graph.values()) == graph.keys() - {"main.js"}


@pytest.mark.parametrize(
    "name, source",
    [
        ("lib/dom.js", 'import { open } from "../chat/chat.js";'),
        ("lib/dom.js", 'import "../chat/chat.js";'),
        ("chat/chat.js", 'import * as sources from "../attribution/sources.js";'),
        ("chat/chat.js", 'import {\n  look,\n  dress,\n} from "../attribution/sources.js";'),
        ("playground/playground.js", 'import "../chat/chat.js";'),
        ("attribution/sources.js", 'export { open } from "../chat/chat.js";'),
        ("chat/chat.js", 'const late = () => import("../playground/playground.js");'),
        ("chat/chat.js", 'import "../lib/unheard-of.js";'),
        ("main.js", 'import "./stream.js";'),
    ],
)
def test_a_violation_in_a_script_is_found(name, source):
    assert script_violations(name, source)


def test_a_circle_of_scripts_is_found():
    one, other = "lib/one.js", "lib/other.js"
    graph = {
        one: script_imports(one, 'import { a } from "./other.js";'),
        other: script_imports(other, 'import { b } from "../lib/one.js";'),
    }
    assert circle_in(graph)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_small_and_say_what_they_are(name):
    assert SCRIPTS[name].count("\n") < LINES_MAX
    assert SCRIPTS[name].removeprefix("// @ts-nocheck\n").startswith("// ")


PRIVATE = re.compile(r"/(?:work|root|home)/\w|\.\./shared|shared/(?:facts|data)|\bissue #?\d")
TEXT = {".py", ".md", ".toml", ".txt", ".sh", ".css", ".js", ".json", ""}


def test_no_path_of_a_machine_in_tracked_files():
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this folder is no git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in TEXT and path.is_file():
            assert not PRIVATE.search(path.read_text(encoding="utf-8")), name


@pytest.mark.parametrize(
    "name", ["assistant.engine.protocol", "assistant.chat.assistant", "assistant.attribution"]
)
def test_above_the_engine_nothing_heavy_is_imported(name):
    code = (
        f"import sys, {name}\n"
        "print(*{module.partition('.')[0] for module in sys.modules}, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "transformers", "gradio", "fastapi"} & set(done.stdout.split())
