"""The automatic checks of a reply."""

import pytest

from assistant.evaluation.checks import blocks, check


@pytest.mark.parametrize(
    "reason, stopped", [("stop", True), ("length", False), ("cancelled", False)]
)
def test_what_counts_as_stopped(reason, stopped):
    assert check("Yes.", reason).stopped is stopped


@pytest.mark.parametrize(
    "text, clean",
    [
        ("Plain text.", True),
        ("Yes.\n\nHuman: And then?", False),
        ("Yes.\nassistant: more", False),
        ("**User:** hello", False),
        ("## System: rules", False),
        ("> Human: quoted", False),
        ("Yes.<|end|>", False),
        ("Note: the user: field is read first.", True),
        ("The assistant: it is not at the start of a line.", True),
        ("```yaml\nuser: anna\n```", True),
        ("```yaml\na: b\n```\nUser: anna", False),
    ],
)
def test_role_text(text, clean):
    assert check(text, "stop").no_role_text is clean


@pytest.mark.parametrize(
    "text, closed",
    [
        ("none", True),
        ("```python\nx\n```", True),
        ("```python\nx\n```  \nmore", True),
        ("```\n```", True),
        ("```python\nx", False),
        ("```", False),
        ("```python", False),
        ("````\n```\n````", True),
        ("````\n```", False),
        ("~~~\nx\n~~~", True),
        ("~~~\nx\n```", False),
        ("```\na\n```\n```\nb", False),
        ("- item\n\n  ```\n  x\n  ```\n", True),
        ("> ```\n> x\n> ```", True),
        ("> ```\n> x", False),
        ("```\nx\n```python", False),
    ],
)
def test_fences(text, closed):
    assert check(text, "stop").fences_closed is closed


@pytest.mark.parametrize(
    "text, parses",
    [
        ("none", None),
        ("```\nnot labelled (\n```", None),
        ("```sql\nSELECT 1\n```", None),
        ("```python\nx = 1\n```", True),
        ("```Python title=a\nx = (\n```", False),
        ("```py\nx = 1\n```\n```python\ndef f(:\n```", False),
        ("```python\n>>> 1 + 1\n2\n```", True),
        ("```pycon\n>>> 1 +\n2\n```", False),
        ("```python\n>>>broken\n```", False),
        ("```python\nx = '\\d'\n```", True),
        ("```python\n" + "(" * 500 + "\n```", False),
        ("1. first:\n   ```python\n   x = 1\n   ```", True),
    ],
)
def test_python(text, parses):
    assert check(text, "stop").python_parses is parses


def test_blocks_have_their_language_and_code():
    (block,) = blocks("a\n\n```JS linenos\nlet x\n```\nb")
    assert (block.language, block.code, block.closed, block.lines) == (
        "js",
        "let x\n",
        True,
        (2, 5),
    )
