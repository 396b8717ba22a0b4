"""What a model's licence asks of those who use it, for the page.

Knows the BigCode OpenRAIL-M v1 licence, and the names of the StarCoder family, which stands under
it: a copy under another name asks nobody. What stands here is a summary: the licence's own text
counts.
"""

import re
from typing import Any

ADDRESS = "https://huggingface.co/spaces/bigcode/bigcode-model-license-agreement"
# What is made from it keeps its terms.
_FAMILY = re.compile(r"star(coder|chat)|santacoder|gpt_bigcode|octocoder|wizardcoder", re.I)

LICENCE: dict[str, Any] = {
    "name": "BigCode OpenRAIL-M v1",
    "url": ADDRESS,
    "asks": [
        "Use it for nothing that breaks a law, and not to harm minors or exploit people.",
        "Make no malware with it, and nothing else that is meant to damage computers.",
        "Spread no false statements or personal data with it in order to harm others; do not "
        "harass anybody, and do not pretend to be somebody.",
        "Let it take no automatic decisions on people's rights, and do not judge or discriminate "
        "against people with it, by how they behave or what they are.",
        "Where you publish what it wrote, say clearly that a machine wrote it.",
        "Whoever you pass it or a changed version of it on to has to accept these terms too.",
    ],
}


def licence_of(model: str) -> dict[str, Any] | None:
    """LICENCE, where the model of this name stands under it, else None."""
    return LICENCE if _FAMILY.search(model) else None
