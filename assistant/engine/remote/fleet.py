"""Which of several servers takes a request.

The least busy one, but a conversation stays where its prefix was computed, as long as that server
is not much busier than the others. One that failed is left out, unless all have failed. Knows ids
and counts; speaks to no server.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from assistant.engine.prefix import common_prefix
from assistant.engine.remote.dialects import Dialect

SPREAD = 4  # requests by which the server that holds a prefix may be busier than another
RECENT = 64  # prompts that a server is known to hold
ALIKE = 16  # tokens that two prompts must have in common, beyond the template's preamble


@dataclass(eq=False, slots=True)
class Endpoint:
    """A server. kind: what it is, None until it has answered. failed: it is left out. busy:
    requests that it computes. taken: how many it was given."""

    client: httpx.AsyncClient
    kind: Dialect | None = None
    failed: bool = False
    busy: int = 0
    taken: int = 0
    recent: deque[tuple[int, ...]] = field(default_factory=lambda: deque(maxlen=RECENT))

    def begin(self, ids: tuple[int, ...]) -> None:
        self.busy += 1
        self.taken += 1
        self.recent.append(ids)

    def known_prefix(self, ids: tuple[int, ...], shared: int) -> int:
        """How many of `ids` it has computed before, 0 if hardly more than the first `shared`."""
        least = shared + ALIKE
        if len(ids) <= least:
            return 0
        alike = [known for known in self.recent if known[:least] == ids[:least]]
        return max((common_prefix(known, ids) for known in alike), default=0)


def choose_endpoint(
    endpoints: Sequence[Endpoint],
    ids: tuple[int, ...],
    shared: int = 0,
    avoid: Endpoint | None = None,
) -> Endpoint:
    """The one for a prompt of `ids`, whose first `shared` many prompts have in common. avoid:
    the one that has just failed, taken again only if there is no other."""
    known = [endpoint for endpoint in endpoints if endpoint.kind]
    others = [endpoint for endpoint in known if endpoint is not avoid] or known
    able = [endpoint for endpoint in others if not endpoint.failed] or others
    least = min(endpoint.busy for endpoint in able)
    free = [endpoint for endpoint in able if endpoint.busy <= least + SPREAD]
    return max(free, key=lambda one: (one.known_prefix(ids, shared), -one.busy, -one.taken))
