"""What clients may send that is not done here: every field is done, harmless or refused.

Done is what a body's class declares. Of the rest that OpenAI's API, vLLM, llama.cpp and TGI have,
HARMLESS changes no reply of this server, and REFUSED would: it is refused by name, unless its value
switches it off. What stands nowhere is some client's own, and ignored.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from assistant.errors import RequestError

# Values that ask for nothing; 0 is equal to 0.0 and False
OFF: tuple[object, ...] = (None, 0, "", [], {})

HARMLESS = frozenset(
    {
        # About accounts, storage, billing and speed elsewhere
        "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
        "prompt_cache_retention", "prompt_cache_options", "prediction", "cache_salt", "request_id",
        "cache_prompt", "id_slot", "guided_decoding_backend",
        # About tools, which are refused where there are any
        "parallel_tool_calls", "max_tool_calls", "tool_prompt", "parse_tool_calls",
        # About thinking, which a base model does not do
        "reasoning_effort", "reasoning", "include_reasoning", "reasoning_format",
        "thinking_budget_tokens", "thinking_token_budget", "thinking_forced_open",
        # Of another server's chat template, or of its media
        "chat_template_kwargs", "mm_processor_kwargs", "chat_template_content_format",
        # No token of this server's stands before a prompt, and special ones are shown as spelt
        "add_special_tokens", "skip_special_tokens", "spaces_between_special_tokens",
        # Of samplers that are refused where they are on
        "mirostat_tau", "mirostat_eta", "dynatemp_exponent", "xtc_threshold", "length_penalty",
        "post_sampling_probs",
        # How a full context is shifted: here the oldest turns leave, and a prompt is refused
        "n_keep", "n_discard", "truncation",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refused:
    """off: further values that change nothing here. why: the end of the sentence."""

    off: tuple[object, ...] = ()
    why: str = "is not supported here; leave it out"


_HERE = "is decided by this server; leave it out"
_TOKENS = "is not among the parts of this server's answers; leave it out"
_TEXT = "is not supported here, where replies are text; leave it out"
MEMORY = "is not supported here, where nothing is kept between requests; leave it out"
_TOOLS = "is not supported here, where there are no tools; leave it out"

REFUSED: dict[str, Refused] = {
    **dict.fromkeys(("tools", "functions"), Refused(why="are not supported here; leave them out")),
    **dict.fromkeys(("tool_choice", "function_call"), Refused(("none", "auto"), _TOOLS)),
    **dict.fromkeys(("web_search_options", "documents", "file_ids"), Refused(why=_TOOLS)),
    # Other than text
    "modalities": Refused((["text"],), _TEXT),
    **dict.fromkeys(
        ("audio", "image", "image_data", "multimodal_data", "prompt_embeds"), Refused(why=_TEXT)
    ),
    # Parts of an answer
    "include": Refused(why=_TOKENS),
    "moderation": Refused(why=_TOKENS),
    **dict.fromkeys(("logprobs", "top_logprobs"), Refused(why=_TOKENS)),
    "prompt_logprobs": Refused(why=_TOKENS + ", or ask /v1/completions for echo with logprobs"),
    **dict.fromkeys(("n_probs", "return_tokens", "return_progress", "timings_per_token"),
                    Refused(why=_TOKENS)),
    # How a token is chosen
    **dict.fromkeys(
        ("use_beam_search", "allowed_token_ids", "bad_words", "logits_processors", "vllm_xargs",
         "mirostat", "dynatemp_range", "xtc_probability", "min_keep", "watermark"),
        Refused(),
    ),
    "top_n_sigma": Refused((-1,)),
    "verbosity": Refused(("medium",)),
    "dry_penalty_last_n": Refused((-1,), "must be -1: the whole text counts here"),
    "repeat_last_n": Refused((-1,), "must be -1: the penalty counts the whole text here"),
    "samplers": Refused(why=_HERE),
    "lora": Refused(why=_HERE),
    "adapter_id": Refused(why=_HERE),
    "priority": Refused(why=_HERE),
    # When a reply ends, and what it may be
    "n_indent": Refused(),
    "include_stop_str_in_output": Refused(),
    **dict.fromkeys(("t_max_predict_ms", "t_max_prompt_ms"), Refused((-1,))),
    **dict.fromkeys(("grammar_lazy", "grammar_triggers", "preserved_tokens", "structural_tag",
                     "guided_whitespace_pattern"), Refused()),
    # What the prompt is made of
    "chat_template": Refused(why="is this server's own; leave it out"),
    "truncate_prompt_tokens": Refused((-1,), "is not supported here; send less"),
    "echo": Refused(why="is for raw prompts; leave it out"),
    "suffix": Refused(why="is for raw prompts; leave it out"),
    "kv_transfer_params": Refused(),
    # Of /v1/responses
    **dict.fromkeys(("previous_response_id", "conversation", "background", "background_options",
                     "context_management", "access_programs"), Refused(why=MEMORY)),
}  # fmt: skip


def refuse_unsupported(values: object, done: Collection[str]) -> None:
    """Raises RequestError for a field of `values`, a body as it was sent, that is not done here.
    done: the names that the body's class declares."""
    if not isinstance(values, Mapping):
        return
    for name, entry in REFUSED.items():
        value = None if name in done else values.get(name)
        if value not in OFF and value not in entry.off:
            raise RequestError(f"{name} {entry.why}.", name)
