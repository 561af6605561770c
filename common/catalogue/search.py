"""Finding published checkpoints: by words in any order and spelling, or by reference.

Libraries write the same thing in many ways: `ns_jft`, `noisy-student`, `noisystudent`.  Both what
is asked for and what records say are brought to one spelling first, and then compared word by word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache

from .._util.arguments import look_up
from ..errors import UsageError
from .records import Library, Record, libraries, records

# One spelling for each thing that is spelt in several ways, in this order.
SPELLINGS = tuple(
    (re.compile(pattern), f" {spelling} ")
    for pattern, spelling in (
        (r"noisy[\s_-]*student|(?<![a-z])ns(?![a-z])", "noisystudent"),
        (r"adv[\s_-]*prop|(?<![a-z])(ap|adv)(?![a-z])", "advprop"),
        (r"auto[\s_-]*aug(ment)?|(?<![a-z])aa(?![a-z])", "autoaugment"),
        (r"rand[\s_-]*aug(ment)?|(?<![a-z])ra[234]?(?![a-z])", "randaugment"),
        (r"(imagenet|in)?[\s_-]*21[\s_-]?k?[\s_-]*ft[\s_-]*(in)?1k", "21k finetuned"),
        (r"(imagenet|in)?[\s_-]*12k[\s_-]*ft[\s_-]*(in)?1k", "12k finetuned"),
        (r"(imagenet|in)[\s_-]*21k", "21k"),
        (r"(imagenet|in)[\s_-]*12k", "12k"),
        (r"fine[\s_-]*tun(ed|ing|e)|(?<![a-z])ft(?![a-z0-9])", "finetuned"),
        (r"(imagenet|in)[\s_-]*1k", "imagenet"),
        (r"edge[\s_-]*tpu", "edgetpu"),
        (r"efficientnet|(?<![a-z])effnet", "efficientnet"),
        (r"(?<![a-z0-9])v[\s_-]*([12])", r"v\1"),
        (r"lite[\s_-]*b?([0-4])", r"lite lite\1"),
        (r"no[\s_-]*top|head[\s_-]*less|without[\s_-]*(a[\s_-]*)?(head|classifier)", "notop"),
        (r"py[\s_-]*torch", "pytorch"),
        (r"\bextra[\s_-]*large", "xl"),
        (r"\bsmall\b", "s"),
        (r"\bmedium\b", "m"),
        (r"\blarge\b", "l"),
    )
)
# Said of every record, or of none.
EMPTY_WORDS = (
    *("a", "an", "and", "by", "checkpoint", "checkpoints", "efficientnet", "for", "from", "in"),
    *("model", "of", "on", "the", "trained", "weights", "with"),
)
NETWORK_WORDS = {"v1", "v2"}  # of a library's name they say nothing of what it has published
SHORTEST_PREFIX = 3  # letters that may stand for a word that begins with them
ALIKE = 0.75  # of difflib: how near a word must be to be taken for another
SHOWN = 5  # names in a message


def canonical(text: str) -> tuple[str, ...]:
    """The words of a text in the one spelling of each."""
    text = text.lower()
    for pattern, spelling in SPELLINGS:
        text = pattern.sub(spelling, text)
    return _split(text)


def _split(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z0-9]+", text))


@lru_cache(maxsize=1)
def vocabulary() -> Mapping[str, frozenset[str]]:
    """The words by which each record is found, by its reference."""
    return {record.reference: _words(record) for record in records()}


def _words(record: Record) -> frozenset[str]:
    library = libraries()[record.library]
    said = (
        *(record.name, record.network, *record.aliases),
        *filter(None, (record.preset, record.dialect, record.layout, record.training)),
        "notop" if record.classes == 0 else "",
        {1000: "imagenet", 1001: "imagenet", 21843: "imagenet 21k"}.get(record.classes, ""),
    )
    called = _spelt(" ".join((library.name, library.title, *library.aliases)))
    return _spelt(" ".join(said)) | (called - NETWORK_WORDS)


def _spelt(text: str) -> frozenset[str]:
    """The words of a text, as they are and in the one spelling of each."""
    return frozenset((*canonical(text), *_split(text.lower())))


def find(words: str = "", library: str | None = None) -> tuple[Record, ...]:
    """The records that every word is said of, in any order and spelling, best first.

    Without words these are all records.  A word that is said of none is taken for the nearest that
    is.

    Raises:
        UsageError: there is no such library, or nothing matches.
    """
    among = tuple(records()) if library is None else library_called(library).records
    known = {word for said in vocabulary().values() for word in said}
    asked = [word for word in canonical(words) if word not in EMPTY_WORDS]
    wanted = [_nearest(word, known) for word in asked]
    found = _having(wanted, among)
    if not found:
        raise UsageError(_nothing(words, wanted, among, library))
    return tuple(sorted(found, key=lambda record: -(record.top1 or 0)))


def _having(wanted: Sequence[str], among: Sequence[Record]) -> list[Record]:
    """The records that all of some words are said of."""
    said = vocabulary()
    return [r for r in among if all(_is_said(word, said[r.reference]) for word in wanted)]


def _nothing(
    words: str, wanted: Sequence[str], among: Sequence[Record], library: str | None
) -> str:
    """That nothing matches, and which word to leave out."""
    where = "" if library is None else f" of {library}"
    without = {
        word: len(_having([other for other in wanted if other != word], among)) for word in wanted
    }
    word = max(without, key=without.__getitem__)
    hint = (
        f"without {word!r} there are {without[word]}" if without[word] else "leave out some words"
    )
    return (
        f"no published checkpoint{where} matches {words!r}; {hint}, and `rosetta weights` counts "
        "all"
    )


def _is_said(word: str, said: Iterable[str]) -> bool:
    return word in said or (
        len(word) >= SHORTEST_PREFIX and any(other.startswith(word) for other in said)
    )


def _nearest(word: str, known: Iterable[str]) -> str:
    """The word itself if it is said of anything, or the one that it is most probably meant for."""
    if _is_said(word, known):
        return word
    return next(iter(get_close_matches(word, known, 1, ALIKE)), word)


# ------------------------------------------------------------------ references


def library_called(name: str) -> Library:
    """A library by its name, or by another that it is known by.

    Raises:
        UsageError: there is none.
    """
    names = {
        _folded(known): library for library in libraries().values() for known in _names(library)
    }
    found = names.get(_folded(name))
    return look_up("library", name, libraries()) if found is None else found


def _names(library: Library) -> tuple[str, ...]:
    return (library.name, *library.aliases)


def _folded(name: str) -> str:
    return re.sub(r"[\s._/-]+", "-", name.lower())


def record(reference: str) -> Record:
    """The record of `library:name`, in any name that the library has for it.

    Raises:
        UsageError: there is no such library, or it has published nothing of that name.
    """
    library_name, _, name = reference.partition(":")
    library = library_called(library_name)
    names = {known.lower(): r for r in library.records for known in r.aliases}
    names |= {r.name.lower(): r for r in library.records}
    found = names.get(name.lower())
    if found is not None:
        return found
    near = get_close_matches(name.lower(), names, SHOWN, 0.5)
    nearest = [f"{library.name}:{names[known].name}" for known in near]
    hint = f"did you mean {' or '.join(dict.fromkeys(nearest))}?" if nearest else ""
    raise UsageError(
        f"{library.title} has published nothing called {name!r}; "
        f"{hint or f'list what it has with `rosetta weights --library {library.name}`'}"
    )
