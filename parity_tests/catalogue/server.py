"""A server on loopback that plays the Hugging Face hub, releases of GitHub, a bucket and Kaggle."""

import hashlib
import json
import re
import threading
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ON_HUB = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
LISTING = re.compile(r"/api/models/([^/]+/[^/]+)(/revision/([^/]+))?")
RANGE = re.compile(r"bytes=(\d+)-")


@dataclass
class Served:
    """One answer: its body, and what is wrong with it.

    `cut` is how many bytes are sent before the connection ends, or before `held`, an event, is
    waited for; `ranges` is whether a part may be asked for, `length` whether the length is told,
    and `chunked` whether the body is sent in pieces that each tell theirs.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    held: threading.Event | None = None
    ranges: bool = True
    length: bool = True
    chunked: bool = False


class Server(ThreadingHTTPServer):
    """Files by path, and a script of answers for those that misbehave; it keeps what was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, Served] = {}  # by path
        # Answers before those, by method and path.
        self.first: dict[tuple[str, str], list[Served]] = defaultdict(list)
        self.on_hub: dict[str, dict[str, bytes]] = {}  # repository -> name -> content
        self.commits = {COMMIT}  # that every repository has, the newest of which is COMMIT
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, range
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def gets(self, path: str) -> list[str | None]:
        """The ranges of every GET of a path."""
        with self.lock:
            return [part for method, asked, part in self.asked if (method, asked) == ("GET", path)]

    def handle_error(self, request, client_address):
        """Clients that go away are what is tested, and nothing to print."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format, *args):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.server.lock:
            self.server.asked.append((self.command, path, self.headers.get("Range")))
            script = self.server.first[self.command, path]
            served = script.pop(0) if script else self.server.files.get(path)
        if served is not None and "/resolve/" in path and served.status == 200:
            usual = self._of_hub(*ON_HUB.fullmatch(path).groups())
            served.headers = {**usual.headers, **served.headers}
        if served is None and (found := LISTING.fullmatch(path)):
            served = self._listing(found[1], found[3])
        if served is None and (found := ON_HUB.fullmatch(path)):
            served = self._of_hub(*found.groups())
        self._send(served or Served(b"Not Found", 404), body)

    def _listing(self, repository: str, revision: str | None) -> Served:
        names = self.server.on_hub.get(repository)
        if names is None:
            return Served(b"{}", 404, {"X-Error-Code": "RepoNotFound"})
        if revision not in (None, "main", *self.server.commits):
            return Served(b"{}", 404, {"X-Error-Code": "RevisionNotFound"})
        listed = [{"rfilename": name} for name in names]
        about = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": listed}
        return Served(json.dumps(about).encode(), headers={"Content-Type": "application/json"})

    def _of_hub(self, repository: str, revision: str, name: str) -> Served:
        commit = revision if revision in self.server.commits else COMMIT
        listing = self._listing(repository, revision)
        if listing.status != 200:
            return listing
        content = self.server.on_hub[repository].get(name)
        if content is None:
            return Served(b"", 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        tag = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{tag}"', "X-Linked-Etag": f'"{tag}"'}
        headers["X-Linked-Size"] = str(len(content))
        return Served(content, headers=headers)

    def _send(self, served: Served, body: bool) -> None:
        content, status, headers = served.body, served.status, dict(served.headers)
        part = RANGE.fullmatch(self.headers.get("Range", ""))
        if part and served.ranges and status == 200:
            start, whole = int(part[1]), len(content)
            if start >= whole:
                status, content = 416, b""
                headers["Content-Range"] = f"bytes */{whole}"
            else:
                status, content = 206, content[start:]
                headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if served.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            half = len(content) // 2
            pieces = [content[:half], content[half:], b""]
            content = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        elif served.length:
            self.send_header("Content-Length", str(len(content)))
        if not served.length or served.cut is not None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if body:
            self.wfile.write(content if served.cut is None else content[: served.cut])
            self.wfile.flush()
        if body and served.held is not None:
            served.held.wait()


@contextmanager
def running():
    """A server that answers until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
