"""The notebook runner passes a clean notebook and fails on every way in which a cell can fail.

Each test drives a real Rust kernel over a small notebook without dependencies, in a folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import nbformat
import pytest

SETUP = Path(__file__).resolve().parents[2] / "setup"
sys.path.insert(0, str(SETUP))

import start_kernel  # noqa: E402  (found only after the line above)

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURE = f'println!("EVCXR_BEGIN_CONTENT image/png\\n{PIXEL}\\nEVCXR_END_CONTENT");'


class Folder:
    """A temporary project folder with a notebook of these cells, removed after the test."""

    def __init__(self, owner: unittest.TestCase | type[unittest.TestCase], *sources: str) -> None:
        temporary = tempfile.TemporaryDirectory()
        cleanup = owner.addCleanup if isinstance(owner, unittest.TestCase) else owner.addClassCleanup
        cleanup(temporary.cleanup)
        self.path = Path(temporary.name)
        (self.path / "evcxr.toml").write_text('[evcxr]\ntmpdir = "target/evcxr"\n', encoding="utf-8")
        cells = [nbformat.v4.new_markdown_cell("# Planted cells")]
        cells += [nbformat.v4.new_code_cell(source) for source in sources]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), self.path / "planted.ipynb")

    def command(self, *extra: str) -> list[str]:
        """The runner's command line for this notebook."""
        paths = [str(self.path / "planted.ipynb"), "--output", str(self.path / "out")]
        return [sys.executable, str(SETUP / "run_notebook.py"), *paths, *extra]

    def run(self, *extra: str) -> subprocess.CompletedProcess[str]:
        """Runs the notebook to its end."""
        return subprocess.run(
            self.command(*extra), cwd=self.path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )

    def executed(self) -> nbformat.NotebookNode:
        """The executed notebook."""
        return nbformat.read(self.path / "out" / "planted.executed.ipynb", as_version=4)

    def kernels(self) -> list[int]:
        """Processes that work in this folder; those about to end get a moment for it."""
        deadline = time.monotonic() + 5
        while (pids := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return pids

    def processes(self) -> list[int]:
        """Processes that work in this folder now."""
        pids = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if Path(os.readlink(entry / "cwd")).is_relative_to(self.path):
                    pids.append(int(entry.name))
            except OSError:
                continue
        return pids


@pytest.mark.xdist_group("one run for all of them")
class CleanNotebook(unittest.TestCase):
    """What a run leaves when nothing failed."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Folder(
            cls,
            'let seconds = 5;\nprintln!("{seconds} s of audio")',
            PICTURE,
            'std::fs::create_dir_all("data/models")?;\nstd::fs::write("data/models/made.bin", "x")?;',
        )
        (cls.folder.path / "expected.txt").write_text("# a comment\nmodels/*.bin\n", encoding="utf-8")
        cls.result = cls.folder.run("--expect", str(cls.folder.path / "expected.txt"))

    def test_a_clean_notebook_passes(self) -> None:
        self.assertEqual(self.result.returncode, 0, self.result.stdout + self.result.stderr)

    def test_outputs_are_in_the_executed_notebook_and_not_in_the_source(self) -> None:
        self.assertEqual(self.folder.executed().cells[1].outputs[0].text, "5 s of audio\n")
        source = nbformat.read(self.folder.path / "planted.ipynb", as_version=4)
        self.assertEqual([cell.outputs for cell in source.cells[1:]], [[], [], []])

    def test_the_page_holds_the_pictures_themselves(self) -> None:
        page = (self.folder.path / "out" / "planted.html").read_text(encoding="utf-8")
        self.assertIn(f"data:image/png;base64,{PIXEL}", page)

    def test_every_cell_is_told_with_its_first_line(self) -> None:
        self.assertRegex(self.result.stdout, r"\[  1/3\] +[\d.]+ s  let seconds = 5;")
        self.assertRegex(self.result.stdout, r"\[  3/3\] +[\d.]+ s  std::fs::create_dir_all")

    def test_seconds_are_on_record_up_to_the_first_picture(self) -> None:
        times = json.loads((self.folder.path / "out" / "planted.times.json").read_text(encoding="utf-8"))
        self.assertEqual([cell["picture"] for cell in times["cells"]], [False, True, False])
        before = times["kernel_ready_s"] + times["cells"][0]["seconds"]
        self.assertLess(before, times["first_picture_s"])
        self.assertLess(times["first_picture_s"], times["total_s"])
        self.assertEqual(list(times["stages"]), ["Planted cells"])

    def test_no_kernel_stays_behind(self) -> None:
        self.assertEqual(self.folder.kernels(), [])


class FirstResult(unittest.TestCase):
    """What the project's evcxr.toml sets right."""

    def test_the_first_cell_with_a_question_mark_shows_its_picture_too(self) -> None:
        shown = (
            "#[derive(Debug)]\npub struct Picture;\n"
            "impl Picture {\n"
            f"    pub fn evcxr_display(&self) {{ {PICTURE} }}\n"
            "}\n"
        )
        folder = Folder(self, shown, "Ok::<Picture, String>(Picture)?")
        for name in ("evcxr.toml", "Cargo.lock"):
            shutil.copyfile(SETUP.parent / name, folder.path / name)
        result = folder.run()
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("image/png", folder.executed().cells[2].outputs[0].data)


class PlantedFailures(unittest.TestCase):
    """Every way to fail, each planted between two sound cells."""

    def fails(self, planted: str, told: str, *extra: str, after: tuple[str, ...] = ('println!("after")',)) -> Folder:
        """Runs a notebook with a planted cell; the run must fail, name the cell and say `told`."""
        folder = Folder(self, 'println!("before")', planted, *after)
        result = folder.run(*extra)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn("code cell 2", result.stderr)
        self.assertIn("\n".join(f"    {line}" for line in planted.splitlines()), result.stderr)
        self.assertIn(told, result.stderr)
        left = {path.name for path in (folder.path / "out").iterdir()}
        self.assertIn("planted.failed.ipynb", left)
        self.assertTrue(left.isdisjoint({"planted.executed.ipynb", "planted.html"}), left)
        self.assertEqual(folder.kernels(), [])
        return folder

    def test_a_panic_fails_the_run(self) -> None:
        self.fails('let clips: Vec<f32> = Vec::new();\nclips[3]', "index out of bounds")

    def test_a_panic_in_a_thread_fails_the_run(self) -> None:
        self.fails('let _ = std::thread::spawn(|| panic!("in a worker")).join();', "in a worker")

    def test_a_failing_question_mark_fails_the_run(self) -> None:
        self.fails('std::fs::read("no/such.wav")?;', "No such file or directory")

    def test_a_failing_question_mark_in_the_last_cell_fails_the_run(self) -> None:
        self.fails('std::fs::read("no/such.wav")?;', "No such file or directory", after=())

    def test_an_error_without_text_still_fails_the_run(self) -> None:
        self.fails("Err::<(), String>(String::new())?;", "failed")

    def test_a_result_shown_as_an_error_fails_the_run(self) -> None:
        self.fails('"five".parse::<u32>()', "InvalidDigit")

    def test_a_compile_error_fails_the_run(self) -> None:
        self.fails('let rate: u32 = "16000";', "mismatched types")

    def test_a_dependency_that_is_not_there_fails_the_run(self) -> None:
        self.fails(':dep nowhere = { path = "nowhere" }', "No such file or directory")

    def test_the_end_of_the_process_fails_the_run_whatever_its_status(self) -> None:
        for status in (0, 3):
            with self.subTest(status=status):
                self.fails(f"std::process::exit({status});", f"exit status: {status}")

    def test_a_warning_on_stderr_fails_the_run(self) -> None:
        self.fails('eprintln!("warning: clipped samples");', "warning: clipped samples")

    def test_words_on_stderr_long_after_their_cell_fail_the_run(self) -> None:
        planted = (
            "std::thread::spawn(|| {\n"
            "    std::thread::sleep(std::time::Duration::from_millis(1500));\n"
            '    eprintln!("warning: out of the dark");\n'
            "});"
        )
        folder = Folder(self, planted, "std::thread::sleep(std::time::Duration::from_secs(3));")
        result = folder.run()
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn("warning: out of the dark", result.stderr)

    def test_a_cell_that_takes_too_long_fails_the_run(self) -> None:
        self.fails("std::thread::sleep(std::time::Duration::from_secs(600));", "timed out", "--timeout", "15")

    def test_a_kernel_that_dies_fails_the_run(self) -> None:
        # The process that runs a cell is the kernel's child.
        planted = (
            "let kernel = std::os::unix::process::parent_id().to_string();\n"
            'std::process::Command::new("kill").args(["-9", &kernel]).status()?;\n'
            "std::thread::sleep(std::time::Duration::from_secs(600));"
        )
        self.fails(planted, "died")

    def test_an_artifact_that_is_not_there_fails_the_run(self) -> None:
        folder = Folder(self, 'println!("trained nothing")')
        (folder.path / "expected.txt").write_text("models/*.safetensors\n", encoding="utf-8")
        result = folder.run("--expect", str(folder.path / "expected.txt"))
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn("models/*.safetensors", result.stderr)


class OneKernelPerFolder(unittest.TestCase):
    """The build folder belongs to one kernel, and a kernel to the program that started it."""

    def test_a_second_kernel_in_the_same_folder_is_refused_with_the_reason(self) -> None:
        folder = Folder(self, 'println!("never runs")')
        with start_kernel.folder_taken(folder.path / "target" / "evcxr", 0.0):
            result = folder.run()
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn("in use by another Rust kernel", result.stderr)

    @unittest.skipUnless(Path("/proc").is_dir(), "counts processes in /proc")
    def test_an_interrupted_run_leaves_no_kernel_behind(self) -> None:
        for signal in ("SIGINT", "SIGTERM", "SIGKILL"):
            with self.subTest(signal=signal):
                folder = Folder(self, "std::thread::sleep(std::time::Duration::from_secs(600));")
                runner = subprocess.Popen(
                    folder.command(), cwd=folder.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )
                for line in runner.stdout:
                    if line.startswith("kernel ready"):
                        break
                # The kernel, its watcher and the process that runs the cell, beside the runner.
                deadline = time.monotonic() + 60
                while len(folder.processes()) < 4:
                    self.assertLess(time.monotonic(), deadline, "the cell never started")
                    time.sleep(0.1)
                subprocess.run(["kill", f"-{signal}", str(runner.pid)], check=True)
                runner.communicate()
                self.assertNotEqual(runner.returncode, 0)
                self.assertEqual(folder.kernels(), [])


if __name__ == "__main__":
    unittest.main()
