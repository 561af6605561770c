"""Small weights, small photographs, and a server on loopback."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from efficientnet_rosetta.common.images.decode import PHOTOGRAPH
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.canonical import save
from parity_tests.support import weights_of

LITTLE = {"width": 0.25, "depth": 0.1, "resolution": 64}


@pytest.fixture(scope="session")
def network():
    """A small network of five classes."""
    return resolve("b0", num_classes=5, **LITTLE)


@pytest.fixture
def weights(network, tmp_path):
    """Its calibrated weights, in a folder of their own, with nothing that names the classes."""
    path = tmp_path / "weights" / "w.safetensors"
    path.parent.mkdir()
    save(path, network, weights_of(network))
    return path


@pytest.fixture(scope="session")
def photograph():
    """A photograph of 64 x 48 pixels."""
    return np.asarray(Image.open(PHOTOGRAPH).convert("RGB").resize((64, 48)))


@pytest.fixture
def pictures(photograph, tmp_path):
    """A folder of photographs, in one another, and what is none."""
    root = tmp_path / "pictures"
    for name in ("10.png", "2.png", "b/1.JPG", "a/20.png", "a/3.png", ".hidden/0.png", ".0.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph).save(root / name)
    (root / "notes.txt").write_text("none of them")
    return root


@pytest.fixture
def server(monkeypatch):
    """A server: the answers that it gives by path, which a test fills, and its address."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as found:
        yield found


class Server:
    """Answers what it was told to: by path, a function of the handler."""

    def __init__(self):
        answers = self.answers = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                answers[self.path](self)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def gives(self, path, content, kind="image/png", status=200, length=None, **headers):
        """Answer a path with these bytes; `length` is what is announced, where it is another."""

        def answer(handler):
            handler.send_response(status)
            handler.send_header("Content-Type", kind)
            handler.send_header("Content-Length", str(len(content) if length is None else length))
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(content)

        self.answers[path] = answer
        return f"{self.address}{path}"
