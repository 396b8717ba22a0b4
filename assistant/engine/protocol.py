"""The Engine protocol: token ids in, pieces of text out.

Knows no prompts, no roles and no web, and imports no torch: everything above this room runs, and
is tested, on a scripted engine.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from assistant.sampling import Sampling

Reason: TypeAlias = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Request:
    """One generation.

    ids: the prompt, at least one token. max_new_tokens: at least 1; `len(ids) + max_new_tokens`
    must not pass the engine's window. stop_ids end the reply and are not part of its text.
    banned_ids are never drawn. penalty_from: the first position of the prompt that the repetition
    penalty counts (the reply is always counted). logprobs: how many likeliest tokens are wanted
    beside each drawn one, 1 to 20; None for no log-probabilities. cold: compute the whole prompt
    anew, in chunks of a fixed size, so that the same request gives the same bits again.
    prompt_logprobs: the same for the tokens of the prompt, which is computed anew for it;
    max_new_tokens may be 0 then. min_new_tokens: stop_ids are not drawn before so many others.
    grammar: what the text must match, as grammar.py writes it; None for any.
    """

    ids: tuple[int, ...]
    sampling: Sampling
    max_new_tokens: int
    stop_ids: frozenset[int] = frozenset()
    banned_ids: frozenset[int] = frozenset()
    penalty_from: int = 0
    logprobs: int | None = None
    cold: bool = False
    prompt_logprobs: int | None = None
    min_new_tokens: int = 0
    grammar: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing new yet. place: 0 while the request runs, n when n - 1 others wait before it."""

    place: int


@dataclass(frozen=True, slots=True)
class Logprob:
    """A token's natural log-probability, by the model itself: before temperature, penalty and
    bans. top: (id, log-probability) of the likeliest tokens in its place, likeliest first."""

    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """New text: whole UTF-8, empty while a character is unfinished. ids: the new tokens.
    logprobs: one for each id, None unless asked for."""

    text: str
    ids: tuple[int, ...]
    logprobs: tuple[Logprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The last item of a stream.

    reason: "stop" for a stop id only, "length" for max_new_tokens, "cancelled" when the engine was
    closed. stop_id: the stop id that fired; stop_logprob: its Logprob, None unless asked for.
    prompt_tokens, cached_tokens (those of the prompt that were not computed anew), new_tokens:
    counts. waited_s, ttft_s (from submission to the first token, waiting included), total_s:
    seconds. repeatable: the same request gives the same ids
    again, alone or in company; False where a cached prefix or the company may change the last bits.
    prompt_logprobs: one for each token of the prompt, None for the first of them, which nothing
    stands before; None unless asked for, and where the prompt was not read to its end.
    """

    reason: Reason
    prompt_tokens: int
    cached_tokens: int
    new_tokens: int
    waited_s: float
    ttft_s: float
    total_s: float
    stop_id: int | None = None
    repeatable: bool = False
    prompt_logprobs: tuple[Logprob | None, ...] | None = None
    stop_logprob: Logprob | None = None

    @property
    def tokens_per_s(self) -> float | None:
        """Decode speed: the tokens after the first, by the time after the first; None for one."""
        decode_s = self.total_s - self.ttft_s
        return (self.new_tokens - 1) / decode_s if self.new_tokens > 1 and decode_s > 0 else None


class Stream(Protocol):
    """Iterates over Waiting and Piece, then one Finished. Closing it cancels the request.

    `next()` returns within the `wait_s` of the call that made it, with Waiting when there is
    nothing new, so that a reader can leave at any time. Raises EngineError when the request fails.
    """

    def __iter__(self) -> Iterator[Waiting | Piece | Finished]: ...
    def __next__(self) -> Waiting | Piece | Finished: ...
    def close(self, reason: Reason = "cancelled") -> Finished:
        """Cancel what still runs; the counts and times of what was read so far. reason: why the
        reader needs no more of it, "stop" where a stop sequence has ended the reply."""
        ...


class Decoder(Protocol):
    """Ids in, whole characters out, for one reply."""

    def feed(self, ids: Sequence[int]) -> str:
        """The characters that `ids` complete; empty while one is unfinished."""
        ...

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that was never finished."""
        ...


@dataclass(frozen=True, slots=True)
class ChatFiles:
    """What a model's files say of chats, as it stands there: nobody has looked at it. template: a
    Jinja chat template. tokens: the names that it may use, such as "eos_token", to their texts.
    generation: what generation_config.json holds."""

    template: str
    tokens: Mapping[str, str] = field(default_factory=dict)
    generation: Mapping[str, object] = field(default_factory=dict)


class Tokenizer(Protocol):
    """Text to ids and back. special: the special tokens, text to id. eos_id: ends a document.
    end_ids: all that end a reply unless a request says otherwise, eos_id among them. bos_id: stands
    before every document that the model was trained on; None where nothing does. chat: where the
    model has a chat template of its own."""

    special: dict[str, int]
    eos_id: int
    end_ids: frozenset[int]
    bos_id: int | None
    chat: ChatFiles | None

    def __len__(self) -> int:
        """The number of ids: valid ids are 0 to this, exclusive."""
        ...

    def encode(self, text: str, *, trusted: bool = False, start: bool = False) -> list[int]:
        """Ids of `text`, which those of another text may stand behind: together they decode to both
        texts, with nothing between. Untrusted text never yields a special token's id, whatever it
        spells. start: a document begins with it, whose first word may be another token there.
        bos_id is the caller's to add, see prompting's encode()."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, special tokens as they are spelt; invalid UTF-8 becomes U+FFFD."""
        ...

    def texts(self, ids: Sequence[int], *, start: bool = False) -> list[str]:
        """What each of `ids` adds to the text; together decode(ids). start: a document begins with
        them; together they are its text, without a bos_id."""
        ...

    def decoder(self) -> Decoder | None:
        """A new one for one reply. None where tokens have no text of their own here: their engine
        gives no ids."""
        ...


@dataclass(frozen=True, slots=True)
class Status:
    """running and waiting: requests. dead: the sentence why nothing can be served, or None."""

    running: int
    waiting: int
    slots: int
    dead: str | None = None


class Engine(Protocol):
    """model: what the person reads (a hub id or a folder's name). adapter: what was merged into its
    weights, by name and version. numerics: the numbers that it computes in, such as "int8, prefill
    in bfloat16", and on a card what with: "bfloat16, kernels, graphs"; on what else a result's last
    bits depend, such as threads or which layers are where, is named there too. None where another
    server computes. window: positions, both for the prompt and the reply. embedded: the small
    checkpoint that ships with the repository, which with an adapter may know other things.
    limitations: what this engine cannot do, each with the sentence that says so: "ids" (prompts are
    sent as text), "logprobs", "prompt_logprobs", "tokens" (a reply's ids), "seed", "cold", "banned"
    (a banned id ends the reply), and each sampler or field of a Request that it does not have."""

    model: str
    revision: str | None
    adapter: str | None
    numerics: str | None
    embedded: bool
    window: int
    tokenizer: Tokenizer
    limitations: dict[str, str]

    def generate(self, request: Request, *, wait_s: float = 0.1) -> Stream:
        """Checks and submits `request`; the stream's `next()` takes at most about `wait_s`
        seconds (0 never blocks). Raises RequestError, EngineBusy or EngineDead at once."""
        ...

    def check_room(self) -> None:
        """Raises EngineBusy or EngineDead when a request would be refused for it now, so that no
        work is spent on preparing one."""
        ...

    def pin(self, ids: tuple[int, ...]) -> None:
        """Compute a prefix now and keep its KV for ever. ids: a prompt template's preamble.
        Raises EngineError."""
        ...

    def status(self) -> Status: ...

    def close(self) -> None:
        """End what runs with reason "cancelled", and take no more requests."""
        ...
