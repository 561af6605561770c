"""Fetching an image from an http(s) address: no more than is meant, and nothing but an image."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing

from efficientnet_rosetta import __version__

from ..errors import UnreadableImageError, reason

MOST = 2**26  # bytes of an image that is fetched
PATIENCE = 30  # seconds that a server may be silent
LONGEST = 300  # seconds that the whole of it may take
CHUNK = 2**16  # bytes
KEPT = "%/:?#[]@!$&'()*+,;="  # signs that mean something in an address
AGENT = f"efficientnet-rosetta/{__version__}"  # without one of its own, Wikimedia refuses a client
PAGE = "text/html"
# What a page begins with, whatever its server calls it.
PAGE_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body")
# What a server, or somebody in its place, can do wrong.
TROUBLE = (OSError, http.client.HTTPException, ValueError)


def fetched(address: str) -> bytes:
    """What an http or https address gives; redirections are followed to such addresses only.

    Raises:
        UnreadableImageError: there is no answer, none in time, or one that is no image: an error, a
            page, more than `MOST` bytes, or less than was announced.
    """
    try:
        plain = urllib.parse.quote(address, safe=KEPT)  # as a browser does with spaces and umlauts
        request = urllib.request.Request(plain, headers={"User-Agent": AGENT})
        with closing(_opener().open(request, timeout=PATIENCE)) as answer:
            return _content(address, answer)
    except UnreadableImageError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        why = " ".join(f"{error.code} {error.reason}".split())
        raise UnreadableImageError(
            address, f"cannot be fetched (the server answers {why})"
        ) from error
    except TROUBLE as error:
        inner = getattr(error, "reason", error)  # of a URLError, whose own text is about its kind
        why = reason(inner) if isinstance(inner, BaseException) else inner
        raise UnreadableImageError(address, f"cannot be fetched ({why})") from error


def _opener() -> urllib.request.OpenerDirector:
    """One that knows http and https, and neither files nor FTP, wherever it is redirected to."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _content(address: str, answer: http.client.HTTPResponse) -> bytes:
    """The body of an answer.

    Raises:
        UnreadableImageError: it is a page, too long, too slow, or cut off.
    """
    announced = answer.length
    if announced is not None and announced > MOST:
        raise _too_long(address)
    if answer.headers.get_content_type() == PAGE:
        raise _page(address)
    found, end = bytearray(), time.monotonic() + LONGEST
    while chunk := answer.read1(CHUNK):  # what there is: `read` would wait for all of a chunk
        found += chunk
        if len(found) > MOST:
            raise _too_long(address)
        if time.monotonic() > end:
            raise UnreadableImageError(
                address, f"cannot be fetched (it takes more than {LONGEST} seconds)"
            )
    if announced is not None and len(found) < announced:
        raise UnreadableImageError(
            address, f"cannot be fetched (it ends after {len(found):,} of {announced:,} bytes)"
        )
    if found[:200].lstrip().lower().startswith(PAGE_STARTS):
        raise _page(address)
    return bytes(found)


def _page(address: str) -> UnreadableImageError:
    return UnreadableImageError(
        address, "is a page and not an image; give the address of the image in it"
    )


def _too_long(address: str) -> UnreadableImageError:
    return UnreadableImageError(
        address, f"has more than {MOST:,} bytes, which no image needs; make it smaller"
    )
