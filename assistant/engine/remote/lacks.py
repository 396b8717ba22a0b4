"""What servers cannot do, each with the sentence that says so; and what they can, by name."""

from typing import Any

from assistant.sampling import OFF, Sampling

NO_IDS = (
    "The server behind this page takes prompts as text, so a message that spells a special token "
    "is refused, and words at the joints of a conversation may be cut into other tokens."
)
NO_LOGPROBS = "The server behind this page gives no log-probabilities of its tokens."
NO_PROMPT_LOGPROBS = "The server behind this page does not say how likely the tokens of a text are."
NO_SEED = (
    "The server behind this page has one seed for all requests, so the same reply cannot be had "
    "again."
)
NO_COLD = (
    "The server behind this page does not promise the same text for the same seed: its last bits "
    "depend on what else it computes."
)
NO_BANNED = (
    "The server behind this page cannot be told which tokens not to write; a reply ends at a "
    "special token."
)

OPTIONS = (*OFF, "min_new_tokens", "grammar")  # that not every server has
# DRY's names here and in llama.cpp, to which they are new together
DRY = ("dry_multiplier", "dry_base", "dry_allowed_length", "dry_sequence_breakers")


def lacks(*has: str) -> dict[str, str]:
    """Limitations for those OPTIONS that a server does not have."""
    return {
        name: f"The server behind this page has no {name}; leave it out."
        for name in OPTIONS
        if name not in has
    }


def used(sampling: Sampling, *has: str) -> dict[str, Any]:
    """Of the samplers that a server has, those that are not off."""
    on = [name for name in has if name in sampling.used]
    return {
        name: getattr(sampling, name)
        for each in on
        for name in (DRY if each == "dry_multiplier" else (each,))
    }
