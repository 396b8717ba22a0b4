"""Takes the README's pictures from a real run.

python -m docs.screenshots [FLAGS OF app.py]
"""

import re
import subprocess
import sys
from pathlib import Path

from tests.browser import chromium, opened

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"


def main():
    command = [sys.executable, "app.py", "--port", "0", *sys.argv[1:]]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = next(filter(None, (re.search(r"http://\S+", line) for line in process.stdout)))[0]
            with chromium() as browser, opened(browser, url) as page:
                take(page)
        finally:
            process.terminate()


def take(page):
    page.locator(".act-example").nth(1).click()
    page.wait_for_selector("#log .act-regenerate", timeout=120_000)
    page.fill("#message textarea", "Why are Python strings immutable?")
    page.keyboard.press("Enter")
    page.wait_for_selector("#log .turn.assistant >> nth=1", timeout=120_000)
    page.screenshot(path=IMAGES / "chat.png")

    page.get_by_role("tab", name="Playground").click()
    page.get_by_label("New tokens, at most").first.fill("100")
    page.get_by_label("Continuations").first.fill("2")
    page.click("#continue")
    page.wait_for_selector("#continuations .do-inspect >> nth=1", timeout=120_000)
    page.screenshot(path=IMAGES / "playground.png")


if __name__ == "__main__":
    main()
