"""A notebook as a person has it before them: JupyterLab's page, worked by menus and keys, read from its DOM."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cells import Cell, Failed
from playwright.sync_api import Error, Locator, Page

# For a step of the page itself, not for a cell.
STEP_S = 120.0
NEWS_S = 10.0
POLL_S = 0.5
# A kernel takes some ten seconds to its first answer. About one in twenty never answers JupyterLab, however long one
# waits, for it has stopped reading what comes in on its shell channel: another is started, as a person would.
KERNEL_S = 90.0
KERNEL_STARTS = 3
SIZE = {"width": 1280, "height": 900}
# Chromium draws no picture higher than this.
MAX_HEIGHT = 16_000
# For the status bar under the last cell.
MARGIN = 60

READ_CELLS = """() => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')].map(cell => {
    const area = cell.querySelector('.jp-Cell-outputArea');
    const every = selector => [...area.querySelectorAll(selector)];
    const mime = name => `[data-mime-type="application/vnd.jupyter.${name}"]`;
    return {
        prompt: cell.querySelector('.jp-InputPrompt').textContent,
        text: every('[data-mime-type]').map(output => output.textContent).join('\\n'),
        complaint: every(`${mime('stderr')}, ${mime('error')}`).map(output => output.textContent).join('\\n'),
        picture_widths: every('img').map(image => image.complete ? image.naturalWidth : 0),
        player_seconds: every('audio').map(player => player.error ? 0 : player.duration || 0),
    };
})"""


class NotebookPage:
    """One notebook in JupyterLab."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.set_default_timeout(STEP_S * 1000)

    def open(self, address: str, token: str, code_cells: int) -> None:
        """Opens the notebook, and waits until it is there to its last cell and its kernel answers."""
        for start in range(KERNEL_STARTS):
            if start > 0:
                print(f"        the kernel gave no answer within {KERNEL_S:.0f} s: another is started", flush=True)
                self.leave(address, token)
            self.load(address, token, code_cells)
            if self.kernel_answers():
                return
        raise Failed(f"the kernel did not answer, in {KERNEL_STARTS} starts; its state: {self.status()}")

    def load(self, address: str, token: str, code_cells: int) -> None:
        """Goes to the notebook's page and makes room on it."""
        self.page.goto(f"{address}?token={token}")
        # At first the page holds one empty cell.
        self.wait_until(f"{code_cells} code cells are there", lambda: len(self.cells()) == code_cells, STEP_S)
        # JupyterLab asks once whether it may bring news, over the notebook's lower corner.
        if self.comes_true(self.asks_about_news, NEWS_S):
            self.page.get_by_role("button", name="No", exact=True).click()
        if self.page.locator("#filebrowser").is_visible():
            self.page.get_by_role("tab", name="File Browser").first.click()

    def asks_about_news(self) -> bool:
        """Whether JupyterLab's question is on the page."""
        return self.page.get_by_role("button", name="No", exact=True).is_visible()

    def leave(self, address: str, token: str) -> None:
        """Closes the page, ends its kernel, and begins with an empty page."""
        sessions = address.split("/lab/")[0] + "/api/sessions"
        headers = {"Authorization": f"token {token}"}
        context = self.page.context
        self.page.close()
        for session in context.request.get(sessions, headers=headers).json():
            context.request.delete(f"{sessions}/{session['id']}", headers=headers, timeout=STEP_S * 1000)
        self.page = context.new_page()
        self.page.set_default_timeout(STEP_S * 1000)

    def kernel_answers(self) -> bool:
        """Whether the kernel gives a sign of life before one would think it dead."""
        return self.comes_true(lambda: self.status() in ("idle", "busy"), KERNEL_S)

    def restart_kernel(self, entry: str) -> None:
        """Has the kernel restarted by an entry of its menu; returns when the old one is gone."""
        self.choose("Kernel", entry)
        self.confirm()
        self.wait_until("the old kernel is gone", lambda: self.status() not in ("idle", "busy"), STEP_S)

    def cells(self) -> list[Cell]:
        """The code cells from top to bottom."""
        return [Cell(**read) for read in self.page.evaluate(READ_CELLS)]

    def status(self) -> str:
        """What the kernel does, by the sign above the notebook."""
        return self.page.locator(".jp-Notebook-ExecutionIndicator").get_attribute("data-status") or ""

    def idle(self) -> bool:
        """Whether the kernel waits for work."""
        return self.status() == "idle"

    def trust(self) -> str:
        """What the sign in the status bar says about trust."""
        return self.page.locator(".jp-StatusItem-trust").get_attribute("title") or ""

    def choose(self, menu: str, *entries: str) -> None:
        """Picks an entry from a menu, by way of sub-menus if need be."""
        self.page.locator(".lm-MenuBar-itemLabel").get_by_text(menu, exact=True).click()
        for entry in entries:
            labels = self.page.locator(".lm-Menu-itemLabel").filter(visible=True)
            labels.get_by_text(entry, exact=True).click()

    def confirm(self) -> None:
        """Answers a dialog that asks whether to go on: yes."""
        self.page.locator(".jp-Dialog .jp-mod-accept").click()

    def select(self, index: int) -> None:
        """Selects a code cell by a click beside it, as one does to run it and not to edit it."""
        prompt = self.page.locator(".jp-Notebook .jp-CodeCell").nth(index).locator(".jp-InputPrompt")
        prompt.scroll_into_view_if_needed()
        prompt.click()

    def start_cell(self, index: int) -> None:
        """Runs a code cell, and does not wait for it."""
        self.select(index)
        self.page.keyboard.press("Control+Enter")

    def run_cell(self, index: int, limit_s: float) -> Cell:
        """Runs a code cell to its end; the cell with its new output."""
        before = self.cells()[index].count
        self.start_cell(index)

        def is_over() -> bool:
            return self.cells()[index].count not in (None, before) and self.idle()

        self.wait_until(f"code cell {index + 1} is over", is_over, limit_s)
        return self.cells()[index]

    def output_of(self, index: int) -> Locator:
        """What stands under a code cell."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index).locator(".jp-Cell-outputArea")

    def add_cell_below(self, index: int, source: str) -> None:
        """Writes a new code cell below another."""
        self.select(index)
        self.page.keyboard.press("b")
        self.page.keyboard.press("Enter")
        self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Escape")

    def delete_cell(self, index: int) -> None:
        """Deletes a code cell."""
        self.select(index)
        self.page.keyboard.press("d")
        self.page.keyboard.press("d")

    def use_theme(self, theme: str) -> None:
        """Dresses JupyterLab as "JupyterLab Light" or "JupyterLab Dark"."""
        self.choose("Settings", "Theme", theme)
        self.page.locator(f'body[data-jp-theme-name="{theme}"]').wait_for(state="attached")

    def photograph(self, file: Path) -> None:
        """Takes a picture of the notebook from top to bottom."""
        self.page.locator(".jp-WindowedPanel-outer").first.evaluate("panel => panel.scrollTo(0, 0)")
        last = self.page.locator(".jp-Notebook .jp-Cell").last
        # Cells out of sight have estimated heights: as the page grows, the notebook's true height comes out.
        for _ in range(5):
            needed = min(MAX_HEIGHT, int(last.evaluate("cell => cell.getBoundingClientRect().bottom")) + MARGIN)
            if needed == self.page.viewport_size["height"]:
                break
            self.page.set_viewport_size({**SIZE, "height": needed})
            self.page.wait_for_timeout(1000)
        self.page.screenshot(path=file)
        self.page.set_viewport_size(SIZE)

    def photograph_as_it_stands(self, file: Path) -> None:
        """Takes a picture of what is to be seen now; for what went wrong, so it must not fail itself."""
        try:
            self.page.screenshot(path=file)
        except Error as error:
            print(f"    no screenshot: {error}", flush=True)

    def wait_until(self, what: str, holds: Callable[[], bool], limit_s: float) -> None:
        """Looks again and again until something holds."""
        if not self.comes_true(holds, limit_s):
            prompts = " ".join(cell.prompt.strip() for cell in self.cells())
            raise Failed(f"waited {limit_s:.0f} s until {what}, in vain. The cells: {prompts}")

    def comes_true(self, holds: Callable[[], bool], limit_s: float) -> bool:
        """Whether something holds before the time is over."""
        deadline = time.monotonic() + limit_s
        while not (true := holds()) and time.monotonic() < deadline:
            self.page.wait_for_timeout(POLL_S * 1000)
        return true
