"""The browser test: a Chromium that is already there, what drives it, and JupyterLab for the time of the test.

`python3 setup/browser.py` names the Chromium found, or tells how to get one.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jupyter
import kernel
import lab
import start_kernel
from steps import ROOT, TARGET, TOOLS, Clock, SetupError, digest, forget, is_done, mark_done

REQUIREMENTS = ROOT / "setup" / "requirements-browser.txt"
VENV = TOOLS / "browser-venv"
PYTHON = VENV / "bin" / "python"
SCENARIO = ROOT / "tests" / "browser" / "scenario.py"
OUTPUT = TARGET / "browser"
# Beside the notebook, for its cells name paths from where it lies. Git ignores it.
COPY = ROOT / "browser-test.ipynb"
# The whole test, on a machine many times slower than the one it was written on.
LIMIT_S = 1200

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_APPS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def find_chromium() -> str:
    """The program that $CHROMIUM names, or else Chromium or Chrome from where systems put them."""
    if given := os.environ.get("CHROMIUM"):
        if found := shutil.which(os.path.expanduser(given)):
            return found
        raise SetupError(f"CHROMIUM: expected a program, found {given}. Name one, or unset CHROMIUM.")
    if found := next(filter(None, map(shutil.which, NAMES + MAC_APPS)), None):
        return found
    raise SetupError(
        "the browser test needs Chromium or Chrome, and neither is here.\n"
        "  Debian: sudo apt install chromium     macOS: brew install --cask google-chrome\n"
        "  One that is elsewhere: CHROMIUM=<program> make test-browser"
    )


def install(clock: Clock) -> None:
    """Makes the environment of the browser's driver, unless it stands. It brings no browser of its own."""
    key = digest(REQUIREMENTS, sys.version, platform.machine())
    if is_done("browser", key) and PYTHON.exists():
        return
    forget("browser")
    with clock.step("browser test: virtual environment"):
        jupyter.make_venv(VENV)
    with clock.step("browser test: download Playwright", download=True):
        jupyter.add(REQUIREMENTS, "--only-binary=:all:", python=PYTHON)
    mark_done("browser", key)


def test(clock: Clock, chromium: str) -> None:
    """The notebook's copy in JupyterLab, from its stored outputs to a restart; nothing stays but the screenshots."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    data_dir = Path("target", "browser-data")
    shutil.rmtree(ROOT / data_dir, ignore_errors=True)
    variables = {"DATASET": "demo", "DATA_DIR": str(data_dir)}
    with clock.step("the notebook in JupyterLab"):
        with copied_notebook() as copy, lab.served(OUTPUT / "lab", variables) as (address, token):
            act_scenario(f"{address}/lab/tree/{copy.name}", token, chromium)
        with start_kernel.folder_taken(kernel.CRATE, lab.END_S) as free:
            if not free:
                raise SetupError("JupyterLab has ended, but its kernel still holds target/evcxr.")


def act_scenario(address: str, token: str, chromium: str) -> None:
    """Runs the scenario; ends it when it takes too long."""
    words = [str(PYTHON), str(SCENARIO), address, str(kernel.NOTEBOOK), chromium, str(OUTPUT)]
    environment = {**os.environ, "JUPYTER_TOKEN": token}
    try:
        result = subprocess.run(
            words, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"the browser test took longer than {LIMIT_S // 60} minutes and was ended.") from error
    if result.returncode != 0:
        raise SetupError(f"the browser test failed; its reason stands above, what the page looked like in {OUTPUT}.")


@contextlib.contextmanager
def copied_notebook() -> Iterator[Path]:
    """A copy that JupyterLab may write to."""
    shutil.copyfile(kernel.NOTEBOOK, COPY)
    try:
        yield COPY
    finally:
        COPY.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        print(find_chromium())
    except SetupError as missing:
        sys.exit(str(missing))
