"""What clients may send that is not done here: every field is done, harmless or refused.

Done is what a body's class declares. Of the rest that OpenAI's API, vLLM, llama.cpp and TGI have,
what stands in HARMLESS is ignored, and what stands in REFUSED is refused by name, unless its value
switches it off: it would change the reply. What stands nowhere is some client's own, and ignored.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
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
        # No token is added to a prompt here, whatever is asked. A special token in the middle of a
        # continuation is shown as it is spelt, as for skip_special_tokens: false, if true is sent,
        # too: a chat's replies have none, and the one that ends a reply is never shown.
        "add_special_tokens", "skip_special_tokens", "spaces_between_special_tokens",
        # Of samplers that are refused where they are on
        "mirostat_tau", "mirostat_eta", "dynatemp_exponent", "xtc_threshold", "length_penalty",
        "post_sampling_probs",
        # How a full context is shifted: here the oldest turns leave, and a prompt is refused
        "n_keep", "n_discard", "truncation",
    }
)  # fmt: skip

# Of which 0 asks for something: the tokens of the prompt alone
COUNTS = ("prompt_logprobs",)


@dataclass(frozen=True, slots=True)
class Refused:
    """why: the end of the sentence. off: further values that change nothing here."""

    why: str
    off: tuple[object, ...]


_PARTS = "is not among the parts of this server's answers; leave it out"
_TEXT = "is not supported here, where replies are text; leave it out"
MEMORY = "is not supported here, where nothing is kept between requests; leave it out"
_TOOLS = "is not supported here, where there are no tools; leave it out"


def _each(
    names: str, why: str = "is not supported here; leave it out", off: tuple[object, ...] = ()
) -> dict[str, Refused]:
    return dict.fromkeys(names.split(), Refused(why, off))


# What one of the APIs does stands here too, such as echo: it is refused in the bodies of the others
REFUSED: dict[str, Refused] = {
    **_each("tools functions", "are not supported here; leave them out"),
    **_each("tool_choice function_call", _TOOLS, off=("none", "auto")),
    **_each("web_search_options documents file_ids", _TOOLS),
    # Other than text
    **_each("modalities", _TEXT, off=(["text"],)),
    **_each("audio image image_data multimodal_data prompt_embeds", _TEXT),
    # Parts of an answer
    **_each("logprobs top_logprobs n_probs include moderation return_tokens return_progress "
            "timings_per_token", _PARTS),
    **_each("prompt_logprobs", _PARTS + ", or ask /v1/completions for echo with logprobs"),
    # How a token is chosen
    **_each("use_beam_search allowed_token_ids bad_words logits_processors vllm_xargs mirostat "
            "dynatemp_range xtc_probability min_keep watermark"),
    **_each("top_n_sigma", off=(-1,)),
    **_each("verbosity", off=("medium",)),
    **_each("samplers lora adapter_id priority", "is decided by this server; leave it out"),
    # When a reply ends, and what it may be
    **_each("n_indent include_stop_str_in_output"),
    **_each("t_max_predict_ms t_max_prompt_ms", off=(-1,)),
    **_each("grammar_lazy grammar_triggers preserved_tokens structural_tag "
            "guided_whitespace_pattern"),
    # What the prompt is made of
    **_each("chat_template", "is this server's own; leave it out"),
    **_each("truncate_prompt_tokens", "is not supported here; send less", off=(-1,)),
    **_each("echo suffix", "is for raw prompts; leave it out"),
    **_each("kv_transfer_params"),
    # Of /v1/responses
    **_each("previous_response_id conversation background background_options context_management "
            "access_programs", MEMORY),
}  # fmt: skip


def refuse_unsupported(values: object, done: Collection[str]) -> None:
    """Raises RequestError for a field of `values`, a body as it was sent, that is not done here.
    done: the names that the body's class declares."""
    if not isinstance(values, Mapping):
        return
    for name, entry in REFUSED.items():
        value = None if name in done else values.get(name)
        counted = name in COUNTS and type(value) is int
        if (counted or value not in OFF) and value not in entry.off:
            raise RequestError(f"{name} {entry.why}.", name)


@contextmanager
def reading(key: str, kind: type[RequestError] = RequestError) -> Iterator[None]:
    """Around what looks at the value of `key`: an error of this kind that names no key names it."""
    try:
        yield
    except kind as error:
        error.param = error.param or key
        raise
