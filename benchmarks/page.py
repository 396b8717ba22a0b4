"""What a streamed reply costs the page and the server, behind 3 turns and behind 300.

python -m benchmarks.page

A scripted engine writes 50 tokens a second into a chat in a real Chromium. Each second the browser
is asked for the time that its main thread was busy (Performance.getMetrics, TaskDuration), and the
page for how often the reply was updated; the server's processor time is that of this process, which
does nothing else meanwhile. Medians over the seconds.
"""

import json
import statistics
import time

from benchmarks.start import machine
from tests.support.browser import chromium, finished, opened, send
from tests.support.fake_engine import FakeEngine
from tests.support.server import running, slowly

SECONDS = 20
TOKENS_PER_S = 50
CODE = (
    "A paragraph of a reply, with `code` in it.\n\n```python\nfor n in range(9):\n    f(n)\n```\n\n"
)
COUNT = """
window.updates = 0;
new MutationObserver(() => window.updates++).observe(
  document.querySelector("#log .growing"), {childList: true, subtree: true, characterData: true});
"""


def conversation(turns):
    """A stored conversation of so many turns."""
    nodes, parent = {}, None
    for index in range(turns):
        nid = f"n{index:08x}"
        role = ("user", "assistant")[index % 2]
        nodes[nid] = {
            "parent": parent,
            "role": role,
            "text": CODE if index % 2 else f"turn {index}",
        }
        parent = nid
    return {"v": 1, "id": "c00000001", "title": "long", "leaf": parent, "nodes": nodes}


def measure(browser, turns):
    """(main-thread ms for each update, server ms for each token)"""
    engine = FakeEngine(slowly(CODE * 30, size=1, pause=1 / TOKENS_PER_S), window=400_000)
    with running(engine, max_new_tokens=20_000) as server, opened(browser, server.url) as page:
        store = "text => localStorage.setItem('tech-assistant/chat/c00000001', text)"
        page.evaluate(store, json.dumps(conversation(turns)))
        page.reload()
        page.click("#chats-list .chat-link")
        finished(page, turns // 2)
        tools = page.context.new_cdp_session(page)
        tools.send("Performance.enable")
        send(page, "go on")
        page.wait_for_selector("#log .growing .code")
        page.evaluate(COUNT)

        def state():
            told = tools.send("Performance.getMetrics")["metrics"]
            (busy,) = (each["value"] for each in told if each["name"] == "TaskDuration")
            tokens = time.monotonic() * TOKENS_PER_S
            return busy, page.evaluate("updates"), tokens, time.process_time()

        page_ms, server_ms = [], []
        before = state()
        for _ in range(SECONDS):
            time.sleep(1)
            now = state()
            busy, updates, tokens, cpu = (b - a for a, b in zip(before, now, strict=True))
            page_ms.append(1000 * busy / max(updates, 1))
            server_ms.append(1000 * cpu / max(tokens, 1))
            before = now
        page.keyboard.press("Escape")
        finished(page, turns // 2 + 1)
    return statistics.median(page_ms), statistics.median(server_ms)


def main():
    print(machine(), "\n")
    print("| turns | page, ms of main thread for an update | server, ms for a token |")
    print("|---|---:|---:|")
    with chromium() as browser:
        for turns in (4, 300):
            print("| {} | {:.1f} | {:.2f} |".format(turns, *measure(browser, turns)), flush=True)


if __name__ == "__main__":
    main()
