"""Reading what is behind an address into a file, going on from what an interruption left of it.

Neither pooch nor, from its version 2 on, huggingface_hub goes on where another process was stopped:
both begin again.  A checkpoint of a gigabyte on a bad line would never arrive.  So the bytes of
both come through here, and the libraries keep what has arrived.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._util.atomic import FULL
from ..errors import FetchError, reason
from .asked import needs_extra
from .progress import Progress

if TYPE_CHECKING:
    from requests import Response, Session

CHUNK = 1 << 18  # bytes
READ_TIMEOUT = "HF_HUB_DOWNLOAD_TIMEOUT"  # of the environment, as huggingface_hub has it: seconds
# What a server says for a while only, and what it says of a file that is not there.
PASSING = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
CLOSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
WEB_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)\b", re.I | re.S)
HEAD = 4096  # bytes, in which a web page shows that it is one


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, in seconds."""

    connect: float = 10.0
    read: float = 30.0  # from one piece of the body to the next
    waits: tuple[float, ...] = (1.0, 2.0, 4.0)  # before another try, while nothing arrives
    longest: float = 60.0  # that a server may ask for


PATIENCE = Patience()


class PassingError(Exception):
    """What may be otherwise in a moment; `after` is how many seconds the server asks for."""

    def __init__(self, why: str, after: float | None = None):
        super().__init__(why)
        self.why, self.after = why, after


def read_timeout() -> float:
    """Seconds without a byte after which a connection counts as cut."""
    try:
        said = float(os.environ[READ_TIMEOUT])
    except (KeyError, ValueError):
        return PATIENCE.read
    return said if 0 < said < math.inf else PATIENCE.read


@dataclass
class Tries:
    """The tries of one thing, which ends when nothing has come of several in a row."""

    name: str
    failed: int = 0

    def again(self, error: PassingError, progressed: bool = False) -> None:
        """Wait before another try.

        Raises:
            FetchError: there have been enough, or the server asks for too much time.
        """
        waits = PATIENCE.waits
        self.failed = 1 if progressed else self.failed + 1
        if self.failed > len(waits):
            times = f", {self.failed} times" if self.failed > 1 else ""
            raise FetchError(self.name, f"{error.why}{times}; try again later") from error
        if error.after is not None and error.after > PATIENCE.longest:
            asked = f"{error.why}, and asks to wait {error.after:,.0f} seconds; try again then"
            raise FetchError(self.name, asked) from error
        time.sleep(waits[self.failed - 1] if error.after is None else error.after)


def download(
    url: str,
    partial: Path,
    name: str,
    progress: Progress,
    headers: Mapping[str, str] | None = None,
    size: int | None = None,
) -> None:
    """Read the body behind an address into `partial`, which goes on growing if it is there.

    `name` is what the file is called in messages, `headers` are sent along, and `size` is how many
    bytes the whole has, where that is known from elsewhere.

    Raises:
        FetchError: there is no such file, no network, no room, or a web page in its place; what
            has arrived so far is kept, but for a web page.
    """
    with needs_extra():
        import requests

    tries, furthest = Tries(name), _length(partial)
    with requests.Session() as session:
        session.headers.update({**(headers or {}), "Accept-Encoding": "identity"})
        while True:
            try:
                _Try(session, url, partial, name, progress, size).go_on()
                break
            except PassingError as error:
                arrived = _length(partial)
                tries.again(error, progressed=arrived > furthest)
                furthest = max(furthest, arrived)
            except requests.RequestException as error:
                raise _unreachable(url, name, error) from error
            except OSError as error:
                raise no_room(name, partial, error) from error
    if is_web_page(partial):
        forget(partial)
        raise FetchError(name, "the address gave a web page, and not a file of weights")
    _notes(partial).unlink(missing_ok=True)


@dataclass
class _Try:
    """One request, and what is made of its answer."""

    session: Session
    url: str
    partial: Path
    name: str
    progress: Progress
    size: int | None

    def go_on(self) -> None:
        """Ask for what is not there yet, and write it.

        Raises:
            PassingError: it did not all come, and may the next time.
            FetchError, RequestException, OSError: it will not come, or cannot be kept.
        """
        import requests
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        start = _length(self.partial)
        asked = {"Range": f"bytes={start}-"} if start else {}
        waits = (PATIENCE.connect, read_timeout())
        try:
            with self.session.get(self.url, headers=asked, stream=True, timeout=waits) as response:
                start = self._accepted(response, start)
                self._write(response, start)
        except (requests.ReadTimeout, ReadTimeoutError) as error:
            raise PassingError(f"sent nothing for {waits[1]:g} seconds") from error
        except (requests.ConnectionError, HTTPError) as error:
            if _never_connected(error):
                raise
            raise PassingError("was cut off on the way") from error

    def _accepted(self, response: Response, start: int) -> int:
        """Where the body of an answer belongs, if it is one of the file.

        Raises:
            PassingError, FetchError: it is not.
        """
        status = response.status_code
        if status in PASSING:
            why = f"its server answers {status} ({_phrase(status)})"
            raise PassingError(why, retry_after(response.headers.get("Retry-After")))
        if status in GONE:
            raise FetchError(
                self.name, f"its server says that there is no such file ({status})", gone=True
            )
        if status in CLOSED:
            raise FetchError(self.name, f"its server does not let us read it ({status})")
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            if response.headers.get("Content-Range") == f"bytes */{start}":
                return start  # all of it was there
            forget(self.partial)
            raise PassingError("has changed since a part of it was fetched", 0.0)
        if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise FetchError(self.name, f"its server answers {status} ({_phrase(status)})")
        if urlsplit(self.url).scheme == "https" and urlsplit(response.url).scheme != "https":
            raise FetchError(self.name, "its address leads to one without encryption")
        if response.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise FetchError(self.name, "the address gave a web page, and not a file of weights")
        if status == HTTPStatus.OK:
            return 0  # the whole, whatever was asked for
        found = RANGE.match(response.headers.get("Content-Range", ""))
        compressed = response.headers.get("Content-Encoding", "identity") != "identity"
        other = compressed or _changed(self.partial, response)
        if found is None or int(found[1]) != start or other:
            forget(self.partial)
            raise PassingError("has changed since a part of it was fetched", 0.0)
        return start

    def _write(self, response: Response, start: int) -> None:
        """Write the body of an answer, which begins at byte `start` of the file."""
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # there is nothing behind what is there
        total = self._total(response)
        self._check_room(None if total is None else total - start)
        _note(self.partial, response)
        done = start
        with self.partial.open("ab" if start else "wb") as file:
            self.progress(done, total)
            # As it arrives: what waits for a chunk to be full is lost where the connection is cut.
            while piece := response.raw.read1(CHUNK, decode_content=True):
                file.write(piece)
                done += len(piece)
                self.progress(done, total)
        if total is not None and done != total:
            if done > total:
                forget(self.partial)
            raise PassingError(f"ended after {done:,} of {total:,} bytes")

    def _total(self, response: Response) -> int | None:
        """How many bytes the whole file has, if that is known."""
        if self.size is not None:
            return self.size
        if found := RANGE.match(response.headers.get("Content-Range", "")):
            return None if found[2] == "*" else int(found[2])
        if response.headers.get("Content-Encoding", "identity") != "identity":
            return None  # the length is that of what was compressed
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else None

    def _check_room(self, needed: int | None) -> None:
        free = shutil.disk_usage(self.partial.parent).free
        if needed is not None and needed > free:
            raise FetchError(
                self.name,
                f"needs {_mb(needed)} more, and {self.partial.parent} has {_mb(free)} left; "
                "make room there",
            )


def no_room(name: str, path: Path, error: OSError) -> FetchError:
    """What to say where the file system takes no more of a download."""
    why = os.strerror(error.errno) if error.errno else reason(error)
    advice = "make room there" if error.errno in FULL else "let it be written to"
    return FetchError(name, f"cannot be kept in {path.parent} ({why}); {advice}")


def is_web_page(path: Path) -> bool:
    """Whether a file begins as HTML does."""
    with path.open("rb") as file:
        return bool(WEB_PAGE.match(file.read(HEAD)))


def forget(partial: Path) -> None:
    """Take away what has arrived of a file."""
    partial.unlink(missing_ok=True)
    _notes(partial).unlink(missing_ok=True)


# ------------------------------------------------------------------ what is known of a part


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _notes(partial: Path) -> Path:
    """Beside a part: the tag that the server gave the file, by which another one is noticed."""
    return partial.with_name(f"{partial.name}.json")


def _tag(response: Response) -> str | None:
    return response.headers.get("ETag") or response.headers.get("Last-Modified")


def _note(partial: Path, response: Response) -> None:
    _notes(partial).write_text(json.dumps({"tag": _tag(response)}), encoding="utf-8")


def _changed(partial: Path, response: Response) -> bool:
    """Whether an answer is of another file than the part is of, as far as the tags say."""
    try:
        before = json.loads(_notes(partial).read_text(encoding="utf-8"))["tag"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return None not in (before, _tag(response)) and before != _tag(response)


# ------------------------------------------------------------------ what servers and networks say


def retry_after(said: str | None) -> float | None:
    """The seconds that a server asks to wait, which it may say as a date."""
    if said is None:
        return None
    if said.strip().isdecimal():
        return float(said)
    try:
        until = parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown"


def _never_connected(error: Exception) -> bool:
    """Whether a request ended before there was a server at the other end."""
    import requests
    from urllib3.exceptions import MaxRetryError, ProtocolError

    before = requests.exceptions.SSLError | requests.exceptions.ProxyError
    if isinstance(error, before | requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and not isinstance(cause.reason, ProtocolError)


def _unreachable(url: str, name: str, error: Exception) -> FetchError:
    """Why there was no answer to a request, in a line."""
    import requests
    from urllib3.exceptions import MaxRetryError

    host = urlsplit(url).netloc.rpartition("@")[2]
    if isinstance(error, requests.TooManyRedirects):
        return FetchError(name, f"{host} redirects in a circle")
    cause = error.args[0] if error.args else error
    cause = cause.reason if isinstance(cause, MaxRetryError) else cause
    said = reason(cause) if isinstance(cause, BaseException) else str(cause)
    # Without what urllib3 calls its connection.
    return no_network(name, host, re.sub(r"^[^:]*(0x|object|host=)[^:]*: ", "", said))


def no_network(name: str, host: str, why: str) -> FetchError:
    """The error for a host that does not answer at all."""
    return FetchError(
        name,
        f"{host} cannot be reached ({why}); is there a network? without one, name a folder of "
        "files fetched elsewhere",
        argument="from",
    )


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
