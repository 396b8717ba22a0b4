"""Look-ups that wait for a file. They run in processes of their own, which import this: nothing
heavy."""

import os
import tempfile
from pathlib import Path

from assistant.errors import DamagedIndex
from assistant.web import sources
from tests.support.waiting import until

matches_in = sources.matches_in


def found_held(text, index):
    """As matches_in(), once there is a file "go" in the folder that the text's first line names;
    until then with a file of its own there."""
    folder = Path(text.partition("\n")[0])
    if folder.is_absolute():
        wait(folder, index)
    return matches_in(text, index)


def wait(folder, index):
    with tempfile.NamedTemporaryFile(dir=folder):
        return bool(until((Path(folder) / "go").exists, 60))


def damaged(index):
    raise DamagedIndex("Damaged.")


def damaged_once(index):
    if index == "damaged":
        damaged(index)
    return "answer"


def die(index):
    os._exit(1)
