"""Two hundred clients that leave in the middle, and one that stays."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.hostile import Walked
from tests.support.waiting import keeps, until

pytestmark = pytest.mark.soak

LEFT_S = 0.5  # until a client leaves
ANSWERED_S = 5  # until the next one has its answer
BODIES = (
    ("/v1/completions", {"prompt": "def add(a, b):", "max_tokens": 200, "stream": True}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    ("/generate", {"inputs": "def add(a, b):", "parameters": {"max_new_tokens": 200}}),
    ("/page/chat", {"run": "storm-run-RUN", "turns": [], "text": "What does zip do?"}),
    ("/gradio_api/call/v2/chat", {"message": "What does zip do?"}),
)


def leave(url, number):
    """Ask, and leave, whatever has come by then."""
    path, body = BODIES[number % len(BODIES)]
    body = {name: v.replace("RUN", str(number)) if name == "run" else v for name, v in body.items()}
    try:
        httpx.post(url + path, json=body, headers={"origin": url}, timeout=LEFT_S)
    except httpx.TimeoutException:
        return 1
    return 0


def storm(url):
    with ThreadPoolExecutor(50) as pool:
        left = sum(pool.map(leave, [url] * 200, range(200)))
    asked = time.monotonic()

    def answered():
        answer = httpx.post(url + "/v1/completions", json={"prompt": "x = ", "max_tokens": 4})
        return answer.status_code == 200

    until(answered, ANSWERED_S)
    print(f"{left} left, and one was answered in {time.monotonic() - asked:.2f} s")
    return left


def test_one_is_answered_after_a_storm():
    with Walked() as walked:
        assert keeps(lambda: storm(walked.url)) > 50

        def rests():
            told = httpx.get(walked.url + "/health").json()
            return told["running"] == told["waiting"] == 0

        until(rests)
        walked.check_silence()
