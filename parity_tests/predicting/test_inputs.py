"""What may be named as an image: files, folders, addresses, standard input, and what is none."""

import io
import os
import re
import socket
import sys

import pytest
from PIL import Image

from efficientnet_rosetta.common._util.natural import natural
from efficientnet_rosetta.common.errors import FileError, UnreadableImageError, UsageError
from efficientnet_rosetta.common.images import address, sources
from efficientnet_rosetta.common.images.sources import Source

from .support import as_json, predict, refused


@pytest.fixture(scope="module")
def png(photograph):
    """A photograph as the bytes of a file."""
    file = io.BytesIO()
    Image.fromarray(photograph).save(file, "PNG")
    return file.getvalue()


def why(name):
    """Why an image cannot be read."""
    with pytest.raises(UnreadableImageError) as caught:
        Source(name).pixels()
    assert str(caught.value).startswith(f"{name}: ")
    assert str(caught.value).isprintable()
    return caught.value.problem


# ------------------------------------------------------------------ files and folders


def test_a_folder_is_all_images_below_it_in_natural_order(pictures):
    found = [source.name.relative_to(pictures).as_posix() for source in sources.sources(pictures)]
    assert found == ["2.png", "10.png", "a/3.png", "a/20.png", "b/1.JPG"]


@pytest.mark.parametrize(
    "names",
    [["2", "10"], ["a2b", "a2c", "a10b"], ["01", "1", "2"], ["A1", "a2", "A3"], ["", "0", "x"]],
)
def test_digits_count_as_numbers(names):
    assert sorted(names, key=natural) == names


def test_names_are_taken_in_their_order_and_as_often_as_they_are_given(pictures):
    named = [pictures / "b", pictures / "10.png", str(pictures / "a"), pictures / "10.png"]
    found = [source.name.name for source in sources.sources(named)]
    assert found == ["1.JPG", "10.png", "3.png", "20.png", "10.png"]


def test_a_link_to_a_folder_is_followed_and_no_circle_is(pictures):
    (pictures / "c").symlink_to(pictures)
    (pictures.parent / "elsewhere").mkdir()
    (pictures / "2.png").rename(pictures.parent / "elsewhere" / "2.png")
    (pictures / "d").symlink_to(pictures.parent / "elsewhere")
    (pictures / "e").symlink_to(pictures / "nowhere")
    found = [source.name.relative_to(pictures).as_posix() for source in sources.sources(pictures)]
    assert found == ["10.png", "a/3.png", "a/20.png", "b/1.JPG", "d/2.png"]


def test_a_folder_without_images_is_one_line(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(FileError, match=r"has no images; their names end in .bmp"):
        sources.sources(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_one_line(pictures):
    (pictures / "a").chmod(0)
    try:
        with pytest.raises(FileError, match=r"a: cannot be read \(Permission denied\)"):
            sources.sources(pictures)
    finally:
        (pictures / "a").chmod(0o755)


@pytest.mark.parametrize(
    ("named", "line"),
    [([], "no images to look at"), ([""], "no images to look at"), (["-", "-"], "twice")],
)
def test_nothing_and_twice_the_same_are_one_line(named, line):
    with pytest.raises(UsageError, match=line):
        sources.sources(named)


@pytest.mark.parametrize("name", ["ftp://127.0.0.1/x.png", "file:///etc/passwd", "s3://x/y.png"])
def test_other_addresses_are_refused(name):
    (found,) = sources.sources(name)
    assert why(found.name) == "is an address of neither http nor https; fetch it, and name the file"


@pytest.mark.parametrize(
    ("name", "stem"),
    [("-", "stdin"), ("https://a.b/c/d.e.jpg?x=1/2#f", "d.e"), ("http://a.b/", "a")],
)
def test_what_is_made_of_an_image_is_named_after_it(name, stem):
    assert Source(name).stem == stem


# ------------------------------------------------------------------ addresses


def test_an_image_behind_an_address(server, png, photograph):
    place = server.gives("/a%20b/%C3%A4.png?x=1", png)
    assert (Source(place).pixels() == photograph).all()
    asked = f"{server.address}/a b/ä.png?x=1#there"
    assert (Source(asked).pixels() == photograph).all()


def test_an_image_that_is_called_something_else(server, png, photograph):
    place = server.gives("/x", png, kind="application/octet-stream")
    assert (Source(place).pixels() == photograph).all()


def test_a_redirection_is_followed(server, png, photograph):
    server.gives("/there.png", png)
    place = server.gives("/x.png", b"", status=302, Location="/there.png")
    assert (Source(place).pixels() == photograph).all()


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("file:///etc/hostname", "not allowed"),
        ("ftp://127.0.0.1/x", "ftp"),
        ("/x.png", "infinite loop"),
    ],
)
def test_a_redirection_to_elsewhere_is_not(target, line, server):
    place = server.gives("/x.png", b"", status=302, Location=target)
    assert line in why(place)


@pytest.mark.parametrize("status", [403, 404, 410, 429, 500, 503])
def test_an_error_of_the_server(status, server):
    place = server.gives("/x.png", b"<html>no</html>", "text/html", status)
    assert why(place).startswith(f"cannot be fetched (the server answers {status} ")


PAGE = b"<!DOCTYPE html><html><body><img src='x.png'></body></html>"


@pytest.mark.parametrize(
    ("content", "kind"),
    [(PAGE, "text/html; charset=utf-8"), (b"\n " + PAGE, "image/png"), (b"", "text/html")],
)
def test_a_page_is_no_image(content, kind, server):
    assert why(server.gives("/x", content, kind)).startswith("is a page and not an image; give")


@pytest.mark.parametrize("content", [b"", b"none", b"\x89PNG\r\n\x1a\n", b"{}"])
def test_what_is_no_image(content, server):
    assert why(server.gives("/x.png", content)).startswith("cannot be read as an image (")


def test_what_is_too_large_is_not_fetched(server, png, monkeypatch):
    monkeypatch.setattr(address, "MOST", len(png) - 1)
    line = f"has more than {len(png) - 1:,} bytes, which no image needs; make it smaller"
    assert why(server.gives("/x.png", png)) == line

    def unannounced(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(png)

    server.answers["/y.png"] = unannounced
    assert why(f"{server.address}/y.png") == line


def test_an_answer_that_is_cut_off(server, png):
    place = server.gives("/x.png", png, length=len(png) + 5)
    assert why(place) == (
        f"cannot be fetched (it ends after {len(png):,} of {len(png) + 5:,} bytes)"
    )


def test_an_answer_that_is_no_http(server):
    server.answers["/x.png"] = lambda handler: handler.wfile.write(b"\0" * 200)
    assert why(f"{server.address}/x.png").startswith("cannot be fetched (")


def test_an_answer_that_takes_too_long(server, png, monkeypatch):
    """By a clock that runs as fast as it is looked at."""
    clock = iter(range(0, 10**6, address.LONGEST + 1))
    monkeypatch.setattr(address.time, "monotonic", lambda: next(clock))
    line = f"cannot be fetched (it takes more than {address.LONGEST} seconds)"
    assert why(server.gives("/x.png", png)) == line


def test_a_server_that_says_nothing(monkeypatch):
    """Connections are taken, and nobody answers: the shortest of patience ends it."""
    monkeypatch.setattr(address, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"http://127.0.0.1:{silent.getsockname()[1]}/x.png"
        assert why(place) == "cannot be fetched (timed out)"


@pytest.mark.parametrize(
    "place",
    ["http://127.0.0.1:1/x.png", "http:///x.png", "http://[::1/x.png", "http://127.0.0.1:x/"],
)
def test_an_address_that_nobody_answers(place, server):
    assert why(place).startswith("cannot be fetched (")


# ------------------------------------------------------------------ the command


def test_files_folders_addresses_and_standard_input_in_one(weights, pictures, server, png):
    place = server.gives("/x.png", png)
    named = [pictures / "a", place, "-", pictures / "2.png"]
    found = as_json(weights, *named, "--backend", "torch", "--batch", 2, stdin=png)
    paths = [pictures / "a" / "3.png", pictures / "a" / "20.png", place, "-", pictures / "2.png"]
    assert [image["path"] for image in found["images"]] == list(map(str, paths))
    first, *others = (image["probabilities"] for image in found["images"])
    for shares in others:  # it is one photograph, in batches of other places
        assert shares == pytest.approx(first, rel=1e-4)


def test_one_that_cannot_be_read_keeps_nobody_from_the_others(weights, pictures, server):
    (pictures / "a" / "3.png").write_bytes(b"none")
    gone, missing = server.gives("/x.png", b"", status=404), pictures / "no.png"
    arguments = [missing, pictures, gone, "--backend", "torch"]
    out, err = predict(weights, *arguments, status=2)
    assert re.findall(r"/([\w.]+) ", out) == ["2.png", "10.png", "20.png", "1.JPG"]
    lines = err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["rosetta", str(name)] for name in (missing, pictures / "a" / "3.png", gone)
    ]
    found = as_json(weights, *arguments, status=2)
    assert len(found["images"]) == 4
    assert [*found["unreadable"]] == [
        str(name) for name in (missing, pictures / "a" / "3.png", gone)
    ]


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000)])
def test_a_line_is_not_enlarged(size, weights, tmp_path):
    Image.new("RGB", size).save(tmp_path / "line.png")
    line = refused(weights, tmp_path / "line.png", "--backend", "torch")
    assert line.endswith(
        f"is {size[0]:,} x {size[1]:,} pixels, too long and thin to resize; cut a part out"
    )


def test_none_that_can_be_read_is_bad_input(weights, tmp_path):
    no_image = tmp_path / "text.png"
    no_image.write_text("none")
    common = ["--backend", "torch"]
    assert refused(weights, no_image, *common).startswith(f"{no_image}: cannot be read as an image")
    assert refused(weights, tmp_path / "no.png", *common, "--json").startswith(
        f"{tmp_path / 'no.png'}: cannot be read ("
    )
    assert refused(weights, "-", *common, stdin="none").startswith("-: cannot be read as an image")
    assert refused(weights, "-", *common, stdin="").startswith("-: cannot be read as an image")
    assert "has no images" in refused(weights, tmp_path / "weights", *common)


def test_a_terminal_is_not_waited_for(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert why("-") == "standard input is a terminal; pipe an image into it"
    monkeypatch.setattr(sys, "stdin", None)
    assert why("-") == "standard input is closed; pipe an image into it"


def test_standard_input_that_does_not_end(monkeypatch, tmp_path):
    (tmp_path / "long").write_bytes(b"x" * 11)
    monkeypatch.setattr(sources, "FILE_LIMIT", 10)
    with (tmp_path / "long").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert why("-") == "standard input has more than 10 bytes"
