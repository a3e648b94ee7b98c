"""What the kernel of the notebook bears: a person's own cells that call libtorch, an interrupt, a run in the background.

Needs the set-up (`make setup`); the cells' data lies under target/test-kernel.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "setup"), str(ROOT / "bench")]

import notebook  # noqa: E402  (found only after the line above)

# The kernel's build folder and the data folder belong to one test at a time.
pytestmark = pytest.mark.xdist_group("the project's kernel")

DATA = ROOT / "target" / "test-kernel"
SET_UP = ':dep audio_transformer = { path = "." }\nuse audio_transformer::prelude::*;'
CONFIG = """
let train_config = TrainConfig { epochs: 400, run_name: "endless".into(), ..Preset::Quick.train() };
let config = Config { train: train_config, model: Preset::Quick.model(), ..Config::default() };
"""
PREPARE = 'acquire(&config)?;\nprintln!("{}", preprocess(&config)?);'


class OneKernel(unittest.TestCase):
    """A kernel per test, in a data folder made afresh."""

    def setUp(self) -> None:
        shutil.rmtree(DATA, ignore_errors=True)
        kernel = notebook.running_kernel(DATA.relative_to(ROOT))
        self.cells = kernel.__enter__()
        self.addCleanup(kernel.__exit__, None, None, None)
        self.cells.run(SET_UP)

    def history(self) -> list[dict[str, str]]:
        """The epochs on disk."""
        path = DATA / "models" / "endless-demo-history.csv"
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def wait_for_epochs(self, n: int) -> int:
        """Waits until at least `n` epochs are on disk, and gives their number."""
        deadline = time.monotonic() + 300
        while len(self.history()) < n:
            self.assertLess(time.monotonic(), deadline, f"no epoch {n} on disk")
            time.sleep(0.1)
        return len(self.history())


def new_versions() -> set[tuple[str, str]]:
    """What the kernel builds that does not stand in the project's lock file."""

    def versions(lock: Path) -> set[tuple[str, str]]:
        text = lock.read_text(encoding="utf-8")
        return set(re.findall(r'^name = "(.+)"\nversion = "(.+)"$', text, re.MULTILINE))

    taken = versions(ROOT / "target" / "evcxr" / "Cargo.lock")
    assert len(taken) > 100, taken
    return taken - versions(ROOT / "Cargo.lock")


class Versions(OneKernel):
    """What is built for the tests serves the notebook."""

    def test_the_kernel_takes_the_versions_of_the_projects_lock_file(self) -> None:
        self.assertEqual(new_versions(), {("ctx", "1.0.0")})


class KeptVersions(unittest.TestCase):
    """What stands between the kernel and cargo."""

    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.folder = Path(self.dir.name)
        true_cargo = self.folder / "true-cargo"
        true_cargo.write_text('#!/bin/sh\necho "$*" > asked\necho forgotten > Cargo.lock\nexit 3\n')
        true_cargo.chmod(0o755)
        self.env = {**os.environ, "KERNEL_CARGO": str(true_cargo)}

    def ask(self, package: str, *words: str) -> str:
        """The lock file after cargo was asked about a package."""
        (self.folder / "Cargo.toml").write_text(f'[package]\nname = "{package}"\n')
        (self.folder / "Cargo.lock").write_text("kept\n")
        command = [ROOT / "setup" / "kernel_bin" / "cargo", *words]
        self.assertEqual(subprocess.run(command, cwd=self.folder, env=self.env, check=False).returncode, 3)
        self.assertEqual((self.folder / "asked").read_text(), " ".join(words) + "\n")
        return (self.folder / "Cargo.lock").read_text()

    def test_asking_about_one_dependency_forgets_no_version(self) -> None:
        words = ("metadata", "--format-version=1")
        self.assertEqual(self.ask("evcxr_dummy_validate_dep", *words), "kept\n")
        self.assertEqual(self.ask("evcxr_dummy_validate_dep", "--offline", *words), "kept\n")
        self.assertEqual(self.ask("ctx", *words), "forgotten\n")
        self.assertEqual(self.ask("evcxr_dummy_validate_dep", "build"), "forgotten\n")
        self.assertFalse((self.folder / "Cargo.lock.kept").exists())


class OwnCells(OneKernel):
    """Cells that the notebook does not have."""

    def test_a_cell_that_calls_tch_itself_works_beside_the_crate(self) -> None:
        self.cells.run(':dep tch = "0.26"')
        self.assertEqual(new_versions(), {("ctx", "1.0.0")})
        self.cells.run("let values = tch::Tensor::from_slice(&[1.0f64, 2.0, 3.5]);")
        shown = self.cells.run("(&values * 2.0).sum(tch::Kind::Double).double_value(&[])")
        self.assertIn("13", shown)
        shown = self.cells.run("show::model(&Preset::Quick.model(), 10)?")
        self.assertIn("<table", shown)
        # The variable of the cell before the crate's own use of libtorch is still there.
        self.assertIn("3.5", self.cells.run("values.max().double_value(&[])"))


class Interrupted(OneKernel):
    """Nothing that was finished is lost."""

    def test_an_interrupt_costs_no_stage_and_at_most_an_epoch(self) -> None:
        self.cells.run(CONFIG)
        self.cells.run(PREPARE)
        self.cells.send("let report = train(&config)?;")
        done = self.wait_for_epochs(2)
        self.cells.interrupt()
        kept = len(self.history())
        self.assertGreaterEqual(kept, done)
        # The child process is a new one: variables are gone, files and definitions are not.
        self.cells.run(CONFIG)
        self.cells.run("let run = Run::start(&config)?;")
        self.wait_for_epochs(kept + 1)
        stopped = self.cells.run("run.stop()")
        self.assertIn("stopped", stopped)
        epochs = [int(row["epoch"]) for row in self.history()]
        self.assertEqual(epochs, list(range(1, len(epochs) + 1)))


if __name__ == "__main__":
    unittest.main()
