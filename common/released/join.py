"""Put rows that several machines made into one table, and their fingerprints into one file.

    python -m efficientnet_rosetta.common.released.join TABLE.json FINGERPRINTS.json FOLDER ...

Every folder has a table.json, and a fingerprints.json where anything could be read.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .._util.atomic import replacing
from ..catalogue import known
from ..errors import RosettaError
from .table import read, read_marks, write

TABLE, MARKS = "table.json", "fingerprints.json"


def join(table: Path, marks: Path, folders: list[Path]) -> int:
    """Add the rows and marks of folders, and count the rows that there are then.

    Raises:
        RosettaError: a file is no table or no fingerprints, or one cannot be written.
    """
    rows, kept = read(table), read_marks(marks)
    for folder in folders:
        rows |= read(folder / TABLE)
        kept |= read_marks(folder / MARKS)
    write(table, rows)
    with replacing(marks) as temporary:
        temporary.write_text(known.as_text(kept), encoding="utf-8")
    return len(rows)


def main() -> int:
    """Exit status: 0, or 2 for what cannot be done."""
    if len(sys.argv) < 4:
        sys.stderr.write(f"{(__doc__ or '').splitlines()[2].strip()}\n")
        return 2
    table, marks, *folders = map(Path, sys.argv[1:])
    try:
        number = join(table, marks, folders)
    except RosettaError as error:
        sys.stderr.write(f"rosetta: {error}\n")
        return 2
    sys.stdout.write(f"{table}: {number} rows\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
