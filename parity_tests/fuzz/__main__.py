"""Make damaged and hostile files of every format, read and port each, and count how that ends.

    python -m parity_tests.fuzz --seed 1 --cases 2000
    python -m parity_tests.fuzz --seed 1 --case 77     # one of them again; its file is kept

A case is good if reading, `rosetta inspect` and `rosetta port` each end in weights or in one line:

    correct  all values are those that the file was made of (of a file made by hand: it is accepted)
    changed  values can be read, and are others.  That is allowed only where nothing in the file
             could have told: the format has no checksums, or the damage was done behind them, and
             they were computed again
    refused  one line says what is wrong
    fault    anything else: a traceback, an end by a signal, a value that changed although the file
             has a checksum of it, more than 20 s of the processor, more memory than the size of the
             file and 512 MiB, or a file that is left behind

Every case has a process of its own, so that it runs on Unix only.  Exit status: 1 if there was a
fault, and 0 otherwise.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .cases import CHANGED, CORRECT, FAULT, REFUSED, Sound, made, tried
from .samples import SAMPLES

VERDICTS = (CORRECT, CHANGED, REFUSED, FAULT)


def fuzz(
    seed: int, numbers: range, folder: Path, names: Sequence[str] = tuple(SAMPLES)
) -> tuple[Counter[tuple[str, str]], list[str]]:
    """How often the cases of each format ended in which way, and a line for every fault."""
    sound = Sound(folder / "sound", names)
    counts: Counter[tuple[str, str]] = Counter()
    faults = []
    for number in numbers:
        place = folder / f"case-{number}"
        case = made(sound, place, seed, number)
        verdict, text = tried(sound, case)
        counts[case.format, verdict] += 1
        if verdict == FAULT:
            faults.append(f"--seed {seed} --case {number}: {case.format}, {case.what}: {text}")
        if len(numbers) > 1:
            _removed(place)
    return counts, faults


def _removed(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    folder.rmdir()


def table(counts: Counter[tuple[str, str]]) -> str:
    """A line for each format, and one for all."""
    names = sorted({name for name, _ in counts})
    rows = [("format", "cases", *VERDICTS)]
    for name in (*names, "all"):
        found = [
            sum(count for (n, v), count in counts.items() if v == verdict and name in (n, "all"))
            for verdict in VERDICTS
        ]
        rows.append((name, f"{sum(found):,}", *(f"{count:,}" for count in found)))
    return "\n".join(f"{row[0]:<18}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows)


def main() -> int:
    """Read the command line, and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m parity_tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0, help="what all damage follows from")
    parser.add_argument("--cases", type=int, default=1000, help="how many files to make")
    parser.add_argument("--case", type=int, help="make this one only, and keep its file")
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=SAMPLES,
        default=tuple(SAMPLES),
        metavar="FORMAT",
        help=f"damage files of these only, of {', '.join(SAMPLES)}",
    )
    given = parser.parse_args()
    if given.case is not None:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        counts, faults = fuzz(given.seed, range(given.case, given.case + 1), folder, given.formats)
        sys.stdout.write(f"{folder / f'case-{given.case}'}\n")
    else:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            counts, faults = fuzz(given.seed, range(given.cases), Path(name), given.formats)
    sys.stdout.write("\n".join((table(counts), *faults)) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
