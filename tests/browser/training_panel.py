"""A panel that draws the loss of a training run while it goes on in the background: what it must do before our eyes."""

from __future__ import annotations

from collections.abc import Callable

from cells import Failed
from notebook_page import NotebookPage
from playwright.sync_api import Locator

# An epoch on a busy machine, with the panel's own interval on top.
MOVE_S = 120.0
# Long enough for several epochs and polls: a curve that still moves shows it.
REST_S = 10.0
READ_CURVE = """curve => curve.tagName.toLowerCase() === 'canvas' ? curve.toDataURL()
    : curve.tagName.toLowerCase() === 'img' ? curve.src : curve.outerHTML"""


def watch(
    notebook: NotebookPage, panel: Locator, stop: Callable[[], None], resume: Callable[[], None]
) -> None:
    """The curve moves; it rests when the run is stopped; it moves again when the run is resumed.

    The curve is the panel's first `<svg>`, `<canvas>` or `<img>`.
    """
    curve = panel.locator("svg, canvas, img").first
    wait_for_move(notebook, curve, "the curve moves")
    stop()
    # What was under way may still arrive.
    notebook.page.wait_for_timeout(REST_S * 1000)
    resting = read(curve)
    notebook.page.wait_for_timeout(REST_S * 1000)
    if read(curve) != resting:
        raise Failed(f"expected a curve at rest {2 * REST_S:.0f} s after the run was stopped, and it moved on")
    resume()
    wait_for_move(notebook, curve, "the curve moves again after the run was resumed")


def wait_for_move(notebook: NotebookPage, curve: Locator, what: str) -> None:
    """Until the curve looks different from now."""
    before = read(curve)
    notebook.wait_until(what, lambda: read(curve) != before, MOVE_S)


def read(curve: Locator) -> str:
    """What the curve looks like."""
    return curve.evaluate(READ_CURVE)
