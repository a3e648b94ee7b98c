"""Whether the outputs stored in a notebook are still those its cells make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# How far a run in the background is when its panel is shown, nobody knows: its pictures are not counted.
MOVING = "show::panel"
COUNTED = {"picture": "<img", "player": "<audio", "table": "<table", "script": "<script"}


def differences(stored: Path, executed: Path) -> list[str]:
    """A line for each code cell whose stored outputs have another shape than those of a run of the same cells.

    The shape is the kinds of output, their MIME types, and how many pictures, players, tables and scripts they hold; what
    numbers and pictures show may differ from run to run.
    """
    (ours, theirs) = (code_cells(path) for path in (stored, executed))
    if [source(cell) for cell in ours] != [source(cell) for cell in theirs]:
        return ["the cells themselves differ"]
    found = []
    for number, (a, b) in enumerate(zip(ours, theirs), start=1):
        before, after = shape(a), shape(b)
        if before != after:
            found.append(f"code cell {number} ({source(a).splitlines()[0]}): stored {before}, now {after}")
    return found


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    """The code cells that hold code."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code" and source(cell).strip()]


def source(cell: dict[str, Any]) -> str:
    """The text of a cell, which a file may hold in pieces."""
    return "".join(cell["source"])


def shape(cell: dict[str, Any]) -> list[str]:
    """What kinds of output a cell has."""
    kinds = []
    for output in cell["outputs"]:
        html = "".join(output.get("data", {}).get("text/html", ""))
        counted = {} if MOVING in source(cell) else COUNTED
        counts = [f"{html.count(mark)} {what}" for what, mark in counted.items() if mark in html]
        kinds.append(" ".join([output.get("name", output["output_type"]), *sorted(output.get("data", {})), *counts]))
    return kinds
