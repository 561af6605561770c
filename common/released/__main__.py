"""Make the table of released checkpoints, or go on with it.

    python -m efficientnet_rosetta.common.released OUT.json [LIBRARY | LIBRARY:NAME ...]

Every record of the catalogue is fetched, held against what its file says, ported to every layout
that takes it, and run on photographs.  What is in OUT.json already is not done again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import RosettaError
from ..images.decode import PHOTOGRAPH
from .row import Job, Row
from .table import chosen, fill

MILLION = 1_000_000


def main() -> int:
    """Exit status: 0, or 1 if any checkpoint differs somewhere, or 2 for what cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m efficientnet_rosetta.common.released", description=__doc__.splitlines()[0]
    )
    parser.add_argument("table", type=Path, metavar="OUT.json", help="the table, new or begun")
    parser.add_argument("names", nargs="*", help="libraries or records; by default all")
    parser.add_argument(
        "--photographs", default=str(PHOTOGRAPH), help="an image, or a folder of images, to look at"
    )
    parser.add_argument("--data", help="labelled images to evaluate the sources on")
    parser.add_argument(
        "--largest", type=float, metavar="MILLIONS", help="leave out networks of more parameters"
    )
    parser.add_argument("--again", action="store_true", help="make rows anew")
    parser.add_argument("--discard", action="store_true", help="leave no file in any cache")
    parser.add_argument(
        "--fingerprints", type=Path, help="file that gets the marks by which files are identified"
    )
    given = parser.parse_args()
    job = Job(
        reference="",
        photographs=given.photographs,
        data=given.data,
        largest=None if given.largest is None else int(given.largest * MILLION),
    )
    try:
        counts = fill(
            given.table,
            chosen(given.names),
            job,
            again=given.again,
            discard=given.discard,
            fingerprints=given.fingerprints,
            told=_tell,
        )
    except RosettaError as error:
        sys.stderr.write(f"rosetta: {error}\n")
        return 2
    sys.stdout.write(", ".join(f"{number} {outcome}" for outcome, number in counts.items()) + "\n")
    return 1 if counts["differs"] else 0


def _tell(row: Row) -> None:
    sys.stdout.write(f"{row.reference}: {row.outcome}: {row.why}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
