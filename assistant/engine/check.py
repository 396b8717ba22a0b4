"""Whether a request can be computed at all: refused before any work, with the counts."""

from assistant.engine.protocol import Request
from assistant.errors import RequestError, SamplingError, WindowError
from assistant.sampling import check_logprobs, check_max_new_tokens


def check_request(request: Request, vocabulary: int, window: int) -> None:
    """vocabulary: ids are below it. window: positions. Raises RequestError, SamplingError and
    WindowError."""
    if not request.ids:
        raise RequestError("The prompt is empty; write at least one character.")
    if not all(0 <= i < vocabulary for i in (*request.ids, *request.banned_ids)):
        raise RequestError(f"A token id is outside of 0 to {vocabulary - 1}.")
    name, biases = "logit_bias", request.sampling.logit_bias
    if not all(0 <= i < vocabulary for i, _ in biases):
        raise SamplingError(f"A token id of {name} is outside of 0 to {vocabulary - 1}.", name)
    if len(request.banned_ids) == vocabulary:
        raise RequestError("Every token is banned, so nothing can be written.")
    if request.max_new_tokens != 0 or request.prompt_logprobs is None:
        check_max_new_tokens(request.max_new_tokens, window)
    check_logprobs(request.logprobs)
    check_logprobs(request.prompt_logprobs)
    if len(request.ids) + request.max_new_tokens > window:
        raise WindowError(
            f"The prompt has {len(request.ids)} tokens and {request.max_new_tokens} new ones "
            f"are asked for; the model's window holds {window} in all."
        )
