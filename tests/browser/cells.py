"""The code cells of a page, and what must be true of them."""

from __future__ import annotations

from dataclasses import dataclass

from stored import StoredCell


class Failed(Exception):
    """What the page should have shown, and what it did."""


@dataclass(frozen=True)
class Cell:
    """A code cell as the page shows it. A picture or player that did not load has a width or length of 0."""

    prompt: str
    text: str
    complaint: str
    picture_widths: list[int]
    player_seconds: list[float]

    @property
    def count(self) -> int | None:
        """Its execution count; none while it waits or runs, or before it ever ran."""
        digits = self.prompt.strip("[]: \n\xa0")
        return int(digits) if digits.isdigit() else None


def check_complaints(cells: list[Cell]) -> None:
    """The kernel reports a panic or a failed `?` on stderr and in no other way."""
    for number, cell in enumerate(cells, 1):
        if cell.complaint:
            raise Failed(f"code cell {number} left on stderr or as an error:\n{cell.complaint}")


def check_finished(cells: list[Cell]) -> None:
    """Every cell has an execution count."""
    waiting = [str(number) for number, cell in enumerate(cells, 1) if cell.count is None]
    if waiting:
        raise Failed(f"without an execution count: code cells {', '.join(waiting)}")


# Where scripts run, the panel of a training run draws in place of its picture; buttons to record and a page that listens stand in theirs.
MOVING = "show::panel"
SCRIPTED = (MOVING, "show::record", "show::live")


def check_media(cells: list[Cell], stored: list[StoredCell]) -> None:
    """As many pictures and players under each cell as in the notebook file, but for what a script draws."""
    if len(cells) != len(stored):
        raise Failed(f"expected {len(stored)} code cells, found {len(cells)}")
    for number, (cell, wanted) in enumerate(zip(cells, stored), 1):
        found = (len(cell.picture_widths), len(cell.player_seconds))
        if not any(name in wanted.source for name in SCRIPTED) and found != (wanted.pictures, wanted.players):
            expected = f"{wanted.pictures} pictures and {wanted.players} players, as in the notebook file"
            raise Failed(f"code cell {number}: expected {expected}, found {found[0]} and {found[1]}")


def unloaded(cells: list[Cell]) -> list[int]:
    """The numbers of the cells with a picture or player that has not loaded, or not yet."""
    return [n for n, cell in enumerate(cells, 1) if not (all(cell.picture_widths) and all(cell.player_seconds))]


def ran_in_turn(cells: list[Cell]) -> bool:
    """Whether every cell has a count, each higher than the one above."""
    counts = [cell.count for cell in cells]
    return None not in counts and counts == sorted(set(counts))
