"""axe-core on every tab: nothing serious or critical, in both colour schemes, wide and narrow."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.support.browser import opened, send, show_tab
from tests.support.fake_engine import FakeEngine
from tests.support.server import running

REPLY = (  # the second block stands in the standard library
    "Use `zip`:\n\n```python\nfor a, b in zip(x, y):  # pairs\n    print(a, 'and', b)\n```\n"
    "```\nimport types\nfrom collections import deque\nfrom heapq import heappush, heappop\n```\n"
)
TABS = (["Chat"],) + tuple(
    ["Playground", name] for name in ("Continue", "Fill in", "Compare", "Template")
)
TABS += (["Attribution", "Search"], ["Check code"], ["About"])


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine(REPLY)) as server:
        yield server


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_serious_on_any_tab(browser, server, scheme, width):
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    # The page's policy lets no script in, axe's neither.
    with opened(browser, server.url, bypass_csp=True, **options) as page:
        send(page, "How do I read two lists together?")
        page.wait_for_selector("#log .sources")
        for summary in page.locator("summary:visible").all():  # receipts, settings
            summary.click()
        for names in TABS:
            for name in names:
                show_tab(page, name)
            found = Axe().run(page).response["violations"]
            grave = [
                (one["id"], [node["html"][:120] for node in one["nodes"]])
                for one in found
                if one["impact"] in ("serious", "critical")
            ]
            assert not grave, (names, scheme, width, grave)
