"""A real server on loopback in a thread, and a raw client that speaks to it as a page does."""

import contextlib
import functools
import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx

from assistant.chat.assistant import Assistant
from assistant.prompting.template import PromptTemplate
from assistant.settings import Settings
from assistant.web.app import build_app
from assistant.web.pages.events import INTERNAL
from assistant.web.server import listen, local_address, make_server
from tests.support.fake_engine import FakeEngine
from tests.support.waiting import until

TEMPLATE = PromptTemplate(
    name="Test",
    user="Human:",
    assistant="Assistant:",
    turn_end="\n\n",
    preamble="A dialogue.\n",
    separator="-----",
)


def slowly(text, size=4, pause=0.02):
    """A script that writes `text` in pieces."""
    script = []
    for at in range(0, len(text), size):
        script += [text[at : at + size], pause]
    return script


class Running:
    """A running server. url: its address; engine, app, settings: what it was built from."""

    def __init__(self, engine, settings, max_new_tokens=256, template=TEMPLATE, **options):
        self.engine, self.settings, self.said = engine, settings, []
        assistant = Assistant(engine, template, max_new_tokens=max_new_tokens)
        sock = listen(settings)
        self.url = local_address(settings, sock)
        self._server = None

        def run():  # all in the thread: playwright's event loop runs in the tests' own
            self.app = build_app(assistant, settings, **options)
            self._server = make_server(self.app, settings, self.said.append)
            self._server.run(sockets=[sock])

        self._thread = threading.Thread(target=run)
        self._thread.start()
        until(lambda: self._server and self._server.started)

    def stop(self):
        self._server.should_exit = True
        self._thread.join()

    def request(self, method, path, **options):
        return httpx.request(method, self.url + path, verify=False, **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def health(self):
        return self.get("/health").json()

    def idle(self, seconds=60):
        """Wait until no request runs or waits."""
        until(lambda: not self.engine.active, seconds)


@contextlib.contextmanager
def running(engine=None, settings=None, **options):
    server = Running(engine or FakeEngine(), settings or Settings(port=0), **options)
    try:
        yield server
    finally:
        server.stop()


class Refused(Exception):
    """The sentence that the page is told instead of a reply."""


class Page:
    """What an open page is to the server: a session that joins the queue and reads its stream.
    turns: the open path of its conversation, as the page's script keeps it."""

    def __init__(self, url, **options):
        self.session, self.turns = secrets.token_hex(6), []
        self.http = httpx.Client(base_url=url, timeout=60, verify=False, **options)

    @functools.cached_property
    def config(self):
        return self.http.get("/config").json()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def event(self, elem_id, event):
        """The number of the function behind an event of the component with this elem_id."""
        found = [c["id"] for c in self.config["components"] if c["props"].get("elem_id") == elem_id]
        return next(
            d["id"] for d in self.config["dependencies"] if [found[0], event] in d["targets"]
        )

    def join(self, number, data):
        body = {"fn_index": number, "data": data, "session_hash": self.session}
        return self.post("/gradio_api/queue/join", body)

    def post(self, path, body):
        # json.dumps, unlike httpx, also writes a bare NaN and lone surrogates
        headers = {"content-type": "application/json"}
        return self.http.post(path, content=json.dumps(body), headers=headers)

    @contextlib.contextmanager
    def stream(self):
        """The messages of this session, until the block is left."""
        query = {"session_hash": self.session}
        with self.http.stream("GET", "/gradio_api/queue/data", params=query) as response:
            yield (json.loads(line[6:]) for line in response.iter_lines() if line[:6] == "data: ")

    def run(self, number, data):
        """All that the server sends for one event, as one text."""
        answer = self.join(number, data)
        assert answer.status_code == 200, answer.text
        seen = []
        with self.stream() as messages:
            for message in messages:
                seen.append(message)
                if self.hear(message):
                    break
        return json.dumps(seen, ensure_ascii=False)

    def hear(self, message):
        """Whether an event has ended with this message."""
        return message["msg"] == "process_completed"

    def ask(self, route, body=None, **headers):
        """What a route of the page answers. headers: others than those that a page sends."""
        if body is None:
            return self.http.get(f"/page/{route}", headers=headers)
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.http.post(f"/page/{route}", content=content, headers=self.own | headers)

    @property
    def own(self):
        """The headers that a page's script sends."""
        origin = str(self.http.base_url).rstrip("/")
        return {"content-type": "application/json", "origin": origin}

    @contextlib.contextmanager
    def news(self, route, **body):
        """The values of a stream, one after the other; leaving the block closes it."""
        content = json.dumps({"run": secrets.token_hex(6), **body}, ensure_ascii=False)
        asked = {"content": content.encode("utf-8", "surrogatepass"), "headers": self.own}
        with self.http.stream("POST", f"/page/{route}", **asked) as answer:
            if answer.status_code != 200:
                answer.read()
                raise Refused(answer.json()["error"]["message"])
            yield (json.loads(line[6:]) for line in answer.iter_lines() if line[:6] == "data: ")

    def chat(self, text=None, **body):
        """All news of a reply, to a new message or to the turns, which get what it brings."""
        message = {} if text is None else {"text": text}
        with self.news("chat", turns=self.turns, **message, **body) as stream:
            news = list(stream)
        if news[0]["message"] is not None:
            self.turns = [*self.turns, {"role": "user", "content": news[0]["message"]}]
        if turn := news[-1].get("turn"):
            reply = {"role": "assistant", "content": turn["text"], "ids": turn["ids"]}
            self.turns = [*self.turns, {**reply, "finish": turn["finish"]}]
        return news

    def say(self, text, **body):
        """Send a chat message; all that the page is told until the reply is there, or the sentence
        that refuses it, as one text."""
        try:
            return json.dumps(self.chat(text, **body), ensure_ascii=False)
        except Refused as error:
            return str(error)

    def call(self, name, **keywords):
        """Call /chat or /complete; the last text, or the error's sentence."""
        answer = self.post(f"/gradio_api/call/v2/{name}", keywords)
        assert answer.status_code == 200, answer.text
        path = f"/gradio_api/call/{name}/{answer.json()['event_id']}"
        with self.http.stream("GET", path) as response:
            event = None
            for line in response.iter_lines():
                if line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("data: ") and event in ("complete", "error"):
                    value = json.loads(line[6:])
                    return value[0] if event == "complete" else value["error"]


@contextlib.contextmanager
def healthy_page(server, script):
    """An open page; at its end a reply comes, and nothing runs any more."""
    with Page(server.url) as page:
        yield page
        script("Hello.")
        assert page.chat("hi")[-1]["turn"]["text"] == "Hello."


def call_all(server, junk, *, playground):
    """Call every event of the page, of the playground or outside it, with each of `junk` in the
    place of all its values; none may fail. Gives the number of events."""
    with Page(server.url) as page:
        config = page.config
    (root,) = (c["id"] for c in config["components"] if c["props"].get("elem_id") == "playground")
    inside, nodes = set(), [(config["layout"], False)]
    while nodes:
        node, within = nodes.pop()
        within = within or node.get("id") == root
        inside |= {node.get("id")} if within else set()
        nodes += [(child, within) for child in node.get("children") or ()]
    events = [each for each in config["dependencies"] if each["targets"]]
    events = [each for each in events if (each["targets"][0][0] in inside) == playground]

    def call(value):
        with Page(server.url) as page:
            for event in events:
                told = page.run(event["id"], [value] * len(event["inputs"]))
                assert '"success": true' in told, (event["id"], event["targets"], value)
                assert "Traceback" not in told and INTERNAL not in told

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, junk))
    return len(events)
