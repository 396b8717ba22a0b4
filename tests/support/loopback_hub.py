"""A small hub on loopback that answers as the Hugging Face hub does, its faults included.

Real clients reach it through HF_ENDPOINT. It serves what huggingface_hub asks for: HEAD and GET of
a file (small ones at once, large ones through a redirect to a store), and the list of files.
"""

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = 100_000  # bytes; larger files are answered with a redirect
TOKEN = "hf_plantedSecretToken"  # the one token that is accepted

_RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_TREE = re.compile(r"/api/models/([^/]+/[^/]+)/tree/([^/?]+)")

# fault: status, X-Error-Code, X-Error-Message. The codes and words are the hub's.
REFUSALS = {
    "gated, no token": (401, "GatedRepo", "Access to model {repo} is restricted. Please log in."),
    "gated, not accepted": (403, "GatedRepo", "Access to {repo} is restricted and you are not in"),
    "scope": (403, None, "Please enable access to public gated repositories in your fine-grained"),
    "bad token": (401, None, "Invalid credentials in Authorization header"),
    "disabled": (403, None, "Access to this resource is disabled."),
    "not found": (404, "RepoNotFound", "Repository not found"),
    "not found, no token": (401, "RepoNotFound", "Invalid username or password."),
    "overloaded": (503, None, "Service unavailable"),
}


class LoopbackHub(ThreadingHTTPServer):
    """repos: name ("owner/x", "datasets/owner/x") to files, name to bytes. fault: a key of
    REFUSALS, or "silence", "cut" (the connection ends in the middle of a file), "short" (so does
    the file), or None. seen: (method, path, authorization) of each request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, repos):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos, self.fault, self.seen = repos, None, []
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.store = f"http://localhost:{self.server_port}/store"  # to a client, another host
        self.closing = threading.Event()

    def commit(self, repo):
        content = [name.encode() + data for name, data in sorted(self.repos[repo].items())]
        return hashlib.sha1(b"".join(content)).hexdigest()


@contextmanager
def loopback_hub(repos):
    hub = LoopbackHub(repos)
    thread = threading.Thread(target=hub.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        hub.shutdown()
        thread.join()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    head_only = False

    def do_HEAD(self):
        self.head_only = True
        self.do_GET()

    def do_GET(self):
        hub, path = self.server, self.path
        hub.seen.append((self.command, path, self.headers["Authorization"]))
        if hub.fault == "silence":
            hub.closing.wait(60)
            self.close_connection = True
            return
        if stored := re.fullmatch(r"/store/(.+)/([0-9a-f]{64})", path):
            self.send_file(self.find_by_etag(*stored.groups()), {})
        elif found := _RESOLVE.fullmatch(path):
            dataset, repo, revision, name = found.groups()
            self.resolve((dataset or "") + repo, revision, name)
        elif found := _TREE.match(path):
            self.tree(*found.groups())
        else:
            self.refuse(404, None, f"nothing at {path}")

    def known(self, repo, revision):
        """Whether repository and revision can be read; if not, the refusal has been sent."""
        if self.server.fault in REFUSALS:
            self.refuse(*REFUSALS[self.server.fault], repo=repo)
        elif self.headers["Authorization"] not in (None, f"Bearer {TOKEN}"):
            self.refuse(*REFUSALS["bad token"])
        elif repo not in self.server.repos:
            self.refuse(*REFUSALS["not found"])
        elif revision not in ("main", self.server.commit(repo)):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return True
        return False

    def resolve(self, repo, revision, name):
        if not self.known(repo, revision):
            return
        commit = self.server.commit(repo)
        data = self.server.repos[repo].get(name)
        if data is None:
            self.refuse(404, "EntryNotFound", "Entry not found", commit=commit)
            return
        etag = hashlib.sha256(data).hexdigest()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if len(data) < LARGE:
            self.send_file(data, headers)
        else:
            linked = {"X-Linked-ETag": f'"{etag}"', "X-Linked-Size": str(len(data))}
            location = {"Location": f"{self.server.store}/{repo}/{etag}"}
            self.answer(302, b"", {**headers, **linked, **location})

    def tree(self, repo, revision):
        if not self.known(repo, revision):
            return
        entries = [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in self.server.repos[repo].items()
        ]
        self.answer(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})

    def find_by_etag(self, repo, etag):
        files = self.server.repos[repo].values()
        return next(data for data in files if hashlib.sha256(data).hexdigest() == etag)

    def send_file(self, data, headers):
        half = data[: len(data) // 2]
        if self.command == "GET" and self.server.fault == "cut":
            self.answer(200, half, {**headers, "Content-Length": str(len(data))})
            self.close_connection = True
        elif self.command == "GET" and self.server.fault == "short":
            self.answer(200, half, headers)
        else:
            self.answer(200, data, headers)

    def refuse(self, status, code, message, *, repo="", commit=None):
        headers = {"X-Error-Message": message.format(repo=repo)}
        headers |= {"X-Error-Code": code} if code else {}
        self.answer(status, b"", headers | ({"X-Repo-Commit": commit} if commit else {}))

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if not self.head_only:
            self.wfile.write(body)
        self.head_only = False

    def log_message(self, *args):
        pass
