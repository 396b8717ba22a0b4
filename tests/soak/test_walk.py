"""A walk over all routes and all events of the page, with everything that is odd: nothing fails,
nothing that was sent is written, and the memory comes back."""

import pytest

from tests.support.hostile import MARK, Walked, events, requests, routes
from tests.support.waiting import until

pytestmark = pytest.mark.soak

LOGIN = {"username": "ada", "password": "lovelace"}
BACK = 1.1  # of the memory that it had after the first round
BACK_S = 90


def healthy(walked, **options):
    with walked.client(**options) as http:
        body = {"prompt": "hi", "max_tokens": 2}
        answer = http.post("/v1/completions", json=body)
        assert answer.status_code == 200 and answer.json()["usage"]["completion_tokens"] <= 2


def test_a_walk_over_everything():
    with Walked() as walked:
        with walked.client() as http:
            calls = list(events(http))
        asked = [*requests(walked.url, list(routes())), *calls]
        walked.send(asked[::5])  # caches fill, and threads start
        before = walked.memory
        walked.send(asked)
        walked.send_raw()
        assert walked.sent > 3_000
        until(lambda: walked.memory < BACK * before, BACK_S)
        walked.check_silence()
        healthy(walked)
        print(f"{walked.sent} requests, {before / 1e6:.0f} MB, then {walked.memory / 1e6:.0f} MB")


def test_a_walk_where_a_login_is_asked():
    key = {"authorization": "Bearer k"}
    with Walked("--auth", "ada:lovelace", "--api-key", "k") as walked:
        with walked.client() as http:
            assert http.post("/login", data=LOGIN).status_code == 200
            cookies = dict(http.cookies)
            calls = list(events(http))
        for path in ("/config", "/page/facts"):
            with walked.client() as http:
                assert http.get(path).status_code == 401
        walked.send(calls, cookies=cookies)
        walked.send(calls)  # who has not logged in
        walked.send(requests(walked.url, list(routes())))
        walked.send_raw()
        assert walked.sent > 4_000 and MARK not in walked.said
        walked.check_silence()
        healthy(walked, headers=key)
