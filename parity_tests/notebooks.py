"""Running the notebooks of `examples/`, cell by cell, as Jupyter does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parents[1]
START = 600  # seconds that a kernel has to start in: a busy machine is slow, and no notebook wrong


def read(name: str) -> NotebookNode:
    """A notebook by its name."""
    return nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)


@contextmanager
def kernel(folder: Path) -> Iterator[KernelManager]:
    """A Python of its own in a folder, which one notebook after another can be run in."""
    manager = KernelManager(kernel_name="python3")
    # It warns that messages are not encrypted, and they stay on this machine.
    manager.start_kernel(cwd=str(folder), extra_arguments=["--log-level=ERROR"])
    try:
        yield manager
    finally:
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def execute(notebook: NotebookNode, manager: KernelManager, before: str = "") -> None:
    """Run all cells, which get their outputs, in a Python that has forgotten any other notebook.

    `before` is run first, and leaves no cell behind.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails; the message quotes it.
    """
    notebook.cells.insert(0, new_code_cell(f"%reset -f\n{before}"))
    client = NotebookClient(notebook, km=manager, timeout=None, startup_timeout=START)
    client.execute()
    del notebook.cells[0]


def printed(notebook: NotebookNode) -> dict[str, str]:
    """What every cell printed, by the cell's id."""
    return {
        cell.id: "".join(
            output.text
            for output in cell.get("outputs", ())
            if output.output_type == "stream" and output.name == "stdout"
        )
        for cell in notebook.cells
    }


def pictures(notebook: NotebookNode) -> dict[str, list[str]]:
    """The pictures that every cell drew, as PNG in base64, by the cell's id."""
    return {
        cell.id: [
            output.data["image/png"]
            for output in cell.get("outputs", ())
            if output.output_type == "display_data" and "image/png" in output.data
        ]
        for cell in notebook.cells
    }
