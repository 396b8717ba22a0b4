"""Two hundred clients that leave in the middle, and one that stays."""

import asyncio
import time

import httpx
import pytest

from tests.support.hostile import Walked
from tests.support.waiting import TooLate, keeps, until

pytestmark = pytest.mark.soak

CLIENTS, AT_ONCE = 200, 50
LEFT_S = 0.5  # until a client leaves
ANSWERED_S = 5  # until the next one has its answer
SLOTS = 160  # for the calls of three tries, which nobody reads, but not for the rest as well
STAYS = 4  # tokens that the one who stays asks for; the replies of the others never end
SLOW = ('"Once "', '__import__("threading").Event()')
ENGINE = (
    f"lambda request: 'Hello.' if request.max_new_tokens == {STAYS} else [{', '.join(SLOW)}], "
    f"slots={SLOTS}, queue={3 * CLIENTS}"
)
BODIES = (
    ("/v1/completions", {"prompt": "def add(a, b):", "max_tokens": 200, "stream": True}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    ("/generate", {"inputs": "def add(a, b):", "parameters": {"max_new_tokens": 200}}),
    ("/page/chat", {"run": "storm-run-RUN", "turns": [], "text": "What does zip do?"}),
    ("/gradio_api/call/v2/chat", {"message": "What does zip do?"}),
)


async def leave(http, number):
    """Ask, and leave after LEFT_S, whatever has come by then."""
    path, body = BODIES[number % len(BODIES)]
    body = {name: v.replace("RUN", str(number)) if name == "run" else v for name, v in body.items()}
    try:
        async with asyncio.timeout(LEFT_S):
            await http.post(path, json=body)
    except TimeoutError:
        return 1
    return 0


async def all_leave(url):
    """How many left before their answer had ended."""
    places = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=url, headers={"origin": url}, timeout=None) as http:

        async def one(number):
            async with places:
                return await leave(http, number)

        return sum(await asyncio.gather(*map(one, range(CLIENTS))))


def storm(url):
    left = asyncio.run(all_leave(url))
    asked = time.monotonic()
    body = {"prompt": "x = ", "max_tokens": STAYS}
    try:
        answer = httpx.post(url + "/v1/completions", json=body, timeout=ANSWERED_S)
    except httpx.TimeoutException as error:
        raise TooLate(f"no answer in {ANSWERED_S} s") from error
    assert answer.status_code == 200
    print(f"{left} left, and one was answered in {time.monotonic() - asked:.2f} s")
    return left


def test_one_is_answered_after_a_storm():
    with Walked(engine=ENGINE) as walked:
        # Of a call alone the answer may come first: it is an address.
        assert keeps(lambda: storm(walked.url)) >= CLIENTS * (len(BODIES) - 1) // len(BODIES)

        def rests():
            told = httpx.get(walked.url + "/health").json()
            return told["running"] == told["waiting"] == 0

        until(rests)
        walked.check_silence()
