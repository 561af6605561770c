"""What a terminal shows in the end of all that was written to it."""

import os
import re

TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


def shown(written: str) -> list[str]:
    """The lines of a terminal, without blanks at their ends and empty lines at the end of all.

    Knows what rich writes: line ends, the cursor up, a line erased, colours, and the cursor hidden.
    """
    lines, row, column = [""], 0, 0
    for numbers, command, end, text in TOKEN.findall(written):
        if end == "\r":
            column = 0
        elif end == "\n":
            row, column = row + 1, column
            lines += [""] * (row + 1 - len(lines))
        elif command == "A":
            row = max(0, row - int(numbers or 1))
        elif command == "K":
            lines[row] = "" if numbers == "2" else lines[row][:column]
        elif command in ("m", "h", "l"):
            continue
        elif text:
            before = lines[row].ljust(column)
            lines[row] = before[:column] + text + before[column + len(text) :]
            column += len(text)
        else:
            raise AssertionError(f"a terminal was told {numbers}{command}")
    return "\n".join(line.rstrip() for line in lines).rstrip("\n").split("\n")


def drained(descriptor: int) -> str:
    """All that can be read from the other end of a terminal, which is closed there."""
    parts = []
    while True:
        try:
            part = os.read(descriptor, 2**16)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts).decode()
