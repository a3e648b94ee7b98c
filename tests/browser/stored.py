"""What a notebook file holds: its code cells in their order, and the pictures and players stored under them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StoredCell:
    """A code cell of a notebook file."""

    stage: str
    source: str
    pictures: int
    players: int


def code_cells(notebook: Path) -> list[StoredCell]:
    """The code cells, each with the last heading above it."""
    stage, found = "", []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and (heading := re.search(r"^#{1,2} +(.+)$", source, re.MULTILINE)):
            stage = heading[1].strip()
        if cell["cell_type"] == "code":
            found.append(StoredCell(stage, source, *pictures_and_players(cell["outputs"])))
    return found


def pictures_and_players(outputs: list[dict]) -> tuple[int, int]:
    """How many pictures and players a person finds in a cell's outputs."""
    bundles = [output.get("data", {}) for output in outputs]
    # JupyterLab shows the HTML of an output that also comes as a picture.
    pages = ["".join(bundle.get("text/html", [])) for bundle in bundles]
    bare = sum(not page and any(mime.startswith("image/") for mime in b) for b, page in zip(bundles, pages))
    html = "".join(pages)
    return bare + len(re.findall(r"<img\b", html)), len(re.findall(r"<audio\b", html))
