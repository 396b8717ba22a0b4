"""Small servers on loopback that answer like those which compute replies, their faults included.

    with serving(vllm("tiny")) as server:
        server.reply = ["Hel", "lo."]           # what is written, token by token
        server.fault = "dropped"                # a key of FAULTS; None is health

A kind is a function from a Scripted to its routes: (method, path) to a function of the JSON that
was sent. It gives a dict, the answer, or a list, a stream of events: dicts, bytes as they are, or
a threading.Event that is waited for. A Bytes is all that is sent, its head too.
"""

import json
import threading
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from assistant.engine.tokenizer import any_of

CUT = object()  # in a stream: the connection ends here
NEVER = object()  # in a stream: nothing more comes, and the connection stays

FAULTS = {  # what a request for a reply meets: a status, or a stream
    "401": 401,
    "403": 403,
    "429": 429,
    "503": 503,
    "500": 500,
    "502": 502,
    "redirect": 307,
    "garbage": [b"data: {not json\n\n"],
    "page": [b"<html>\n<body>Welcome</body>\n"],
    "no object": [b"data: [1, 2]\n\n"],
    "no reply": [{"hello": "world"}],
    "wrong types": [{"choices": [{"text": 7}], "token": {"id": "x", "text": 7}, "content": 7}],
    "deep": [b"data: " + b"[" * 100_000 + b"\n\n"],
    "ids out of range": [{"choices": [{"text": "a", "token_ids": [10**9]}],
                          "token": {"id": -1, "text": "a"}, "tokens": [True]}],
    "endless line": [b"data: " + b"a" * (2 << 20)],
    "dropped": [CUT],
    "ended early": [],
    "error event": [{"error": {"message": "CUDA <b>out</b> of\nmemory", "code": 500}}],
    "silence": [NEVER],
    "a slow line": [b"data: {", NEVER],
    "aborted": [{"choices": [{"text": "", "finish_reason": "abort"}],
                 "details": {"finish_reason": "abort", "generated_tokens": 0}}],
}  # fmt: skip


@dataclass
class Bytes:
    """A whole answer as bytes, piece by piece. pause: seconds between two pieces, in which the
    server may close. sent: how many bytes went out; ended: all did."""

    pieces: Iterable[bytes]
    pause: float = 0
    sent: int = 0
    ended: bool = False

    def write(self, handler):
        handler.close_connection = True
        for piece in self.pieces:
            handler.wfile.write(piece)
            self.sent += len(piece)
            if self.pause and handler.server.closing.wait(self.pause):
                return
        self.ended = True


class Scripted(ThreadingHTTPServer):
    """fault: see FAULTS, also "headers", which never end. faults: how many requests meet it, None
    for all. seen: (path, JSON) of all POSTs. keys: the Authorization headers."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, kind):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.reply, self.fault, self.faults = ["Hel", "lo."], None, None
        self.seen, self.keys, self.left = [], set(), 0
        self.closing = threading.Event()
        self.routes = kind(self)

    def meets_fault(self):
        if self.fault is None or self.faults == 0:
            return None
        if self.faults is not None:
            self.faults -= 1
        return self.fault

    def handle_error(self, request, client_address):
        self.left += 1  # the client has gone


@contextmanager
def serving(kind):
    server = Scripted(kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer("GET", None)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append((self.path, body))
        self.answer("POST", body)

    def answer(self, method, body):
        server = self.server
        server.keys.add(self.headers["authorization"])
        route = server.routes.get((method, self.path))
        if route is None:
            return self.send(404, {"detail": "Not Found"})
        fault = server.meets_fault() if method == "POST" else None
        if fault == "headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-A")
            self.wfile.flush()
            server.closing.wait(30)
            return self.drop()
        value = FAULTS[fault] if fault else route(body)
        if isinstance(value, Bytes):
            return value.write(self)
        if isinstance(value, int):
            return self.send(value, {"error": {"message": "secret <i>words</i>\nof the server"}})
        if isinstance(value, tuple):
            return self.send(*value)
        if isinstance(value, dict):
            return self.send(200, value)
        self.stream(value)

    def send(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if status == 307:
            self.send_header("location", "http://127.0.0.1:9/")
        self.end_headers()
        self.wfile.write(data)

    def stream(self, items):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for item in items:
            if item is CUT:
                return self.drop()
            if item is NEVER:
                self.server.closing.wait(30)
                return self.drop()
            if isinstance(item, threading.Event):
                while not (item.wait(0.02) or self.server.closing.is_set()):
                    self.chunk(b": waiting\n\n")
                continue
            self.chunk(
                item if isinstance(item, bytes) else b"data: %s\n\n" % json.dumps(item).encode()
            )
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def drop(self):
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(2)


# -- kinds -------------------------------------------------------------------------------------


def vllm(model, window=256, encode=None, owner="vllm", takes_ids=True, eos=0):
    """encode: text to ids, where the server gives ids."""

    def kind(server):
        def completions(body):
            if not takes_ids and not isinstance(body["prompt"], str):
                return 400, {"detail": "prompt must be a string."}
            if body.get("prompt_logprobs"):
                top = {str(n): {"logprob": -1.0 - n, "rank": n + 1} for n in range(3)}
                places = [{**top, str(token): {"logprob": -0.5}} for token in body["prompt"]]
                return {"choices": [{"text": "x", "prompt_logprobs": [None, *places[1:]]}]}
            return stream(body)

        def stream(body):
            used = 0
            for piece in server.reply:
                if not isinstance(piece, str):
                    yield piece
                    continue
                ids = encode(piece) if encode else [None]
                used += len(ids)
                choice = {"index": 0, "text": piece}
                if encode and body.get("return_token_ids"):
                    choice["token_ids"] = ids
                if body.get("logprobs"):
                    top = {f"token_id:{token}": -0.25 for token in ids}
                    choice["logprobs"] = {
                        "token_logprobs": [-0.25] * len(ids),
                        "top_logprobs": [{**top, "token_id:3": -2.0} for _ in ids],
                    }
                yield {"choices": [choice]}
            last = {"text": "", "finish_reason": "stop", "stop_reason": None}
            if encode:
                last |= {"token_ids": [eos]}
                if body.get("logprobs"):
                    last["logprobs"] = {"token_logprobs": [-0.1], "top_logprobs": [{}]}
            yield {"choices": [last]}
            details = {"cached_tokens": 1}
            yield {"choices": [], "usage": {"completion_tokens": used,
                                            "prompt_tokens_details": details}}  # fmt: skip
            yield b"data: [DONE]\n\n"

        entry = {"id": model, "owned_by": owner, "max_model_len": window}
        return {
            ("GET", "/v1/models"): lambda _: {"object": "list", "data": [entry]},
            ("POST", "/v1/completions"): completions,
        }

    return kind


def transformers(pinned):
    def kind(server):
        def completions(body):
            if body["model"] != pinned:
                return 400, {"detail": f"Server is pinned to '{pinned}'."}
            if not isinstance(body["prompt"], str):
                return 400, {"detail": "prompt must be a string."}
            events = [{"choices": [{"text": piece, "index": 0}]} for piece in server.reply]
            usage = {"completion_tokens": len(events) + 1, "prompt_tokens": 3}
            last = {"choices": [{"text": "", "finish_reason": "stop"}], "usage": usage}
            return [*events, last]

        return {
            ("GET", "/v1/models"): lambda _: 500,  # as it is without a cache of the hub's
            ("GET", "/openapi.json"): lambda _: {"paths": {"/load_model": {}}},
            ("POST", "/v1/completions"): completions,
        }

    return kind


def tgi(model, encode, window=256, eos=0):
    def kind(server):
        def generate(body):
            ids = [(token, piece) for piece in server.reply for token in encode(piece)]
            events = [
                {"token": {"id": token, "text": piece, "logprob": -0.5, "special": False},
                 "generated_text": None, "details": None}
                for token, piece in ids
            ]  # fmt: skip
            details = {"finish_reason": "eos_token", "generated_tokens": len(ids) + 1, "seed": 1}
            last = {"id": eos, "text": "<|endoftext|>", "logprob": -0.5, "special": True}
            text = "".join(server.reply)
            return [*events, {"token": last, "generated_text": text, "details": details}]

        return {
            ("GET", "/v1/models"): lambda _: {"data": [{"id": model, "owned_by": model}]},
            ("GET", "/info"): lambda _: {"model_id": model, "max_total_tokens": window},
            ("POST", "/generate_stream"): generate,
        }

    return kind


def llama_cpp(model, tokenizer, window=256):
    def kind(server):
        def completion(body):
            ids = [tokenizer.encode(piece) for piece in server.reply]
            places = [
                [
                    {"id": token, "logprob": -0.5, "top_logprobs": [{"id": token, "logprob": -0.5}]}
                    for token in part
                ]
                for part in ids
            ]
            events = [
                {"content": piece, "tokens": part, "stop": False}
                | ({"completion_probabilities": place} if body["n_probs"] else {})
                for piece, part, place in zip(server.reply, ids, places, strict=True)
            ]
            last = {"content": "", "tokens": [], "stop": True, "stop_type": "eos",
                    "tokens_predicted": sum(map(len, ids)), "timings": {"cache_n": 2}}  # fmt: skip
            return [*events, last]

        def tokenize(body):
            trusted = body["parse_special"]
            text, bos = body["content"], tokenizer.bos_id
            ids = [bos] if body["add_special"] and bos is not None else []
            # As llama.cpp does it: a blank before the text, and behind each special token.
            parts = any_of(tokenizer.special if trusted else []).split(text)
            for at, part in enumerate(parts):
                if part:
                    ids += tokenizer.encode(part, trusted=at % 2 == 1, start=at % 2 == 0)
            return {"tokens": ids}

        entry = {"id": model, "owned_by": "llamacpp", "meta": {"n_vocab": len(tokenizer)}}
        props = {
            "default_generation_settings": {"n_ctx": window},
            "eos_token": tokenizer.decode([tokenizer.eos_id]),
            "bos_token": "" if tokenizer.bos_id is None else tokenizer.decode([tokenizer.bos_id]),
        }
        return {
            ("GET", "/v1/models"): lambda _: {"data": [entry]},
            ("GET", "/props"): lambda _: props,
            ("POST", "/completion"): completion,
            ("POST", "/tokenize"): tokenize,
            ("POST", "/detokenize"): lambda body: {"content": tokenizer.decode(body["tokens"])},
        }

    return kind
