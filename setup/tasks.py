"""What the Makefile's targets do: set the project up inside its own folder, then run what needs the set-up."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import browser
import checks
import esc10
import export
import jupyter
import kernel
import lab
import libtorch
import page
import prerequisites
import study
from steps import ROOT, TARGET, Clock, SetupError, say

NOTEBOOK_OUTPUT = TARGET / "notebook"


def set_up_libtorch(clock: Clock, *, for_tests: bool = False) -> Path:
    """What building the crate needs; the libtorch folder."""
    prerequisites.check(for_tests=for_tests)
    if given := os.environ.get("LIBTORCH"):
        libtorch.check_given(Path(given).expanduser())
    jupyter.install(clock)
    return libtorch.prepare(clock)


def set_up(clock: Clock, *, for_tests: bool = False) -> Path:
    """Everything the notebook needs; the libtorch folder it was built against."""
    folder = set_up_libtorch(clock, for_tests=for_tests)
    kernel.add_rust_sources(clock)
    kernel.install_evcxr(clock)
    kernel.write_kernelspec(folder)
    kernel.write_env_script(folder)
    kernel.build_crate(clock, folder)
    return folder


def run_notebook(clock: Clock) -> None:
    """The whole notebook on DATASET, into the project's own data folder."""
    set_up(clock)
    with clock.step(f"notebook (DATASET={os.environ.get('DATASET', 'demo')})"):
        data_dir = Path(os.environ.get("DATA_DIR") or "data")
        # No limit on a cell: a person may train all night.
        checks.execute_notebook(NOTEBOOK_OUTPUT, data_dir, timeout_s=None)


def refresh_notebook(clock: Clock) -> None:
    """The same, and the outputs of the committed notebook become those of this run."""
    run_notebook(clock)
    shutil.copyfile(NOTEBOOK_OUTPUT / f"{kernel.NOTEBOOK.stem}.executed.ipynb", kernel.NOTEBOOK)
    say(f"{kernel.NOTEBOOK.name} now holds the outputs of this run.")


def test(clock: Clock) -> None:
    """What has to hold before a change is done."""
    checks.run_all(clock, set_up(clock, for_tests=True))


def test_browser(clock: Clock) -> None:
    """The page that is exported and the notebook in a real JupyterLab, by way of Chromium."""
    chromium = browser.find_chromium()
    folder = set_up(clock)
    browser.install(clock)
    page.test(clock, folder, chromium)
    browser.test(clock, chromium)


def run_esc10(clock: Clock) -> None:
    """The whole notebook on real recordings, downloaded from an archive served on this machine."""
    script = esc10.packing_script()
    set_up(clock)
    esc10.run_from_loopback(clock, script)


def open_lab(clock: Clock) -> None:
    """JupyterLab with the notebook open."""
    set_up(clock)
    say("JupyterLab opens in the browser; Ctrl-C here ends it.")
    environment = {**os.environ, **jupyter.environment()}
    os.chdir(ROOT)
    command = lab.command(kernel.NOTEBOOK.name)
    os.execve(command[0], command, environment)


def with_libtorch(work: Callable[..., None], *arguments: str) -> Callable[[Clock], None]:
    """What needs libtorch and the crate, and not the notebook."""
    return lambda clock: work(clock, set_up_libtorch(clock), *arguments)


COMMANDS = {
    "setup": set_up,
    "run": run_notebook,
    "notebook": refresh_notebook,
    "test": test,
    "peers": export.peers,
    "test-export": with_libtorch(export.check),
    "test-browser": test_browser,
    "page-runtime": page.build,
    "run-esc10": run_esc10,
    "own-data": with_libtorch(study.own_data),
    "unknown": with_libtorch(study.unknown),
    "five-folds": with_libtorch(study.release),
    "ablation": with_libtorch(study.study, "ablation"),
    "curve": with_libtorch(study.curve),
    "inner-folds": with_libtorch(study.inner),
    "pretrain": with_libtorch(study.pretrain),
    "first-recipe": with_libtorch(study.study, "first"),
    "check-released": with_libtorch(study.study, "check"),
    "lab": open_lab,
}


def main() -> int:
    """Runs one command, and tells what went wrong without a traceback."""
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        say(f"usage: python3 setup/prepare.py {'|'.join(COMMANDS)}")
        return 2
    clock = Clock()
    try:
        COMMANDS[sys.argv[1]](clock)
    except (SetupError, OSError) as error:
        print(f"\nstopped: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here.", file=sys.stderr, flush=True)
        return 130
    say(clock.summary())
    clock.save(TARGET / f"seconds-{sys.argv[1]}.json")
    return 0
