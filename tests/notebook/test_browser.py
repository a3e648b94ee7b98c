"""The parts of the browser test that can be wrong without a browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "setup"), str(ROOT / "tests" / "browser")]

import browser  # noqa: E402  (found only after the line above)
import cells  # noqa: E402
import jupyter  # noqa: E402
import kernel  # noqa: E402
import lab  # noqa: E402
import start_kernel  # noqa: E402
import steps  # noqa: E402
import stored  # noqa: E402


class TemporaryFolder(unittest.TestCase):
    """A folder per test."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)


class FindingChromium(TemporaryFolder):
    """By its usual names, or by the one that is given."""

    def program(self, name: str) -> str:
        path = self.folder / name
        path.write_text("#!/bin/sh\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    def found(self, **variables: str) -> str:
        with mock.patch.dict(os.environ, {"PATH": str(self.folder), **variables}):
            if "CHROMIUM" not in variables:
                os.environ.pop("CHROMIUM", None)
            return browser.find_chromium()

    def test_debians_name_comes_before_chrome(self) -> None:
        chrome = self.program("google-chrome")
        self.assertEqual(self.found(), chrome)
        chromium = self.program("chromium")
        self.assertEqual(self.found(), chromium)

    def test_the_one_that_is_given_comes_first(self) -> None:
        self.program("chromium")
        given = self.program("my-browser")
        self.assertEqual(self.found(CHROMIUM=given), given)
        self.assertEqual(self.found(CHROMIUM="my-browser"), given)

    def test_a_given_one_that_is_not_there_is_an_error_even_beside_another(self) -> None:
        self.program("chromium")
        with self.assertRaisesRegex(steps.SetupError, "CHROMIUM: expected a program, found no/such"):
            self.found(CHROMIUM="no/such")

    def test_an_app_of_macos_is_found(self) -> None:
        app = self.program("Google Chrome")
        with mock.patch.object(browser, "MAC_APPS", (app,)):
            self.assertEqual(self.found(), app)

    def test_without_one_the_target_says_how_to_get_it(self) -> None:
        result = subprocess.run(
            [sys.executable, str(ROOT / "setup" / "prepare.py"), "test-browser"],
            env={"PATH": str(self.folder)}, capture_output=True, text=True, check=False,
        )
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("sudo apt install chromium", result.stderr)


class PicturesInANotebookFile(TemporaryFolder):
    """What the page is held against."""

    def cells(self, *outputs: list[dict]) -> list[stored.StoredCell]:
        heading = {"cell_type": "markdown", "source": ["# Sounds\n", "\n", "Listen."]}
        code = [{"cell_type": "code", "source": ["show()\n", "?"], "outputs": these} for these in outputs]
        path = self.folder / "some.ipynb"
        path.write_text(json.dumps({"cells": [heading, *code]}), encoding="utf-8")
        return stored.code_cells(path)

    def test_pictures_and_players_are_counted_in_html(self) -> None:
        html = ["<div><img src='a'>\n", "<img\n src='b'><audio controls></audio></div>"]
        (cell,) = self.cells([{"output_type": "execute_result", "data": {"text/html": html}}])
        self.assertEqual((cell.pictures, cell.players), (2, 1))

    def test_a_bare_picture_counts_unless_html_is_shown_in_its_place(self) -> None:
        bare = {"output_type": "display_data", "data": {"image/png": "iVBOR", "text/plain": ["a picture"]}}
        both = {"output_type": "display_data", "data": {"image/png": "iVBOR", "text/html": ["<img src='a'>"]}}
        first, second = self.cells([bare, bare], [both])
        self.assertEqual((first.pictures, second.pictures), (2, 1))

    def test_text_has_neither(self) -> None:
        (cell,) = self.cells([{"output_type": "stream", "name": "stdout", "text": ["an <img> in words\n"]}])
        self.assertEqual((cell.pictures, cell.players), (0, 0))

    def test_a_cell_knows_its_stage_and_source(self) -> None:
        (cell,) = self.cells([])
        self.assertEqual((cell.stage, cell.source), ("Sounds", "show()\n?"))

    def test_the_notebook_itself_is_stored_with_pictures_and_players(self) -> None:
        cells = stored.code_cells(kernel.NOTEBOOK)
        self.assertGreater(sum(cell.pictures for cell in cells), 0)
        self.assertGreater(sum(cell.players for cell in cells), 0)


class WhatIsAskedOfThePage(unittest.TestCase):
    """Each way in which a page can be wrong is told."""

    STORED = stored.StoredCell("Listen", "show()", pictures=1, players=1)

    def cell(self, **changed: object) -> cells.Cell:
        sound = {"prompt": "[7]:", "text": "", "complaint": "", "picture_widths": [720], "player_seconds": [5.0]}
        return cells.Cell(**{**sound, **changed})

    def test_a_sound_page_passes(self) -> None:
        page = [self.cell(), self.cell(prompt="[8]:")]
        cells.check_complaints(page)
        cells.check_finished(page)
        cells.check_media(page, [self.STORED, self.STORED])
        self.assertEqual(cells.unloaded(page), [])
        self.assertTrue(cells.ran_in_turn(page))

    def test_a_complaint_is_told_with_its_cell(self) -> None:
        with self.assertRaisesRegex(cells.Failed, "code cell 2 .*\nindex out of bounds"):
            cells.check_complaints([self.cell(), self.cell(complaint="index out of bounds")])

    def test_a_cell_that_waits_runs_or_never_ran_is_not_finished(self) -> None:
        for prompt in ("[*]:", "[ ]:", ""):
            page = [self.cell(), self.cell(prompt=prompt)]
            with self.subTest(prompt=prompt), self.assertRaisesRegex(cells.Failed, "code cells 2"):
                cells.check_finished(page)
            self.assertFalse(cells.ran_in_turn(page))

    def test_counts_out_of_turn_are_not_those_of_a_whole_run(self) -> None:
        for later in ("[6]:", "[7]:"):
            self.assertFalse(cells.ran_in_turn([self.cell(), self.cell(prompt=later)]))

    def test_a_picture_or_player_too_few_or_too_many_is_told(self) -> None:
        for changed in ({"picture_widths": []}, {"picture_widths": [720, 720]}, {"player_seconds": []}):
            with self.subTest(changed), self.assertRaisesRegex(cells.Failed, "code cell 1: expected 1 pictures"):
                cells.check_media([self.cell(**changed)], [self.STORED])

    def test_a_cell_too_few_is_told(self) -> None:
        with self.assertRaisesRegex(cells.Failed, "expected 2 code cells, found 1"):
            cells.check_media([self.cell()], [self.STORED, self.STORED])

    def test_what_did_not_load_is_seen(self) -> None:
        page = [self.cell(), self.cell(picture_widths=[720, 0]), self.cell(player_seconds=[0])]
        self.assertEqual(cells.unloaded(page), [2, 3])


class JupyterLabForATest(TemporaryFolder):
    """It keeps to itself."""

    def test_nothing_it_writes_lands_where_make_lab_reads(self) -> None:
        own, shared = lab.environment(self.folder), jupyter.environment()
        written = {name for name in shared if name.startswith("JUPYTER")} - {"JUPYTER_PATH"}
        self.assertEqual({name for name in written if not own[name].startswith(str(self.folder))}, set())
        self.assertEqual(own["JUPYTER_PATH"], shared["JUPYTER_PATH"])

    def test_it_is_not_started_beside_another_kernel(self) -> None:
        crate = self.folder / "evcxr"
        with mock.patch.object(kernel, "CRATE", crate), start_kernel.folder_taken(crate, 0.0):
            with self.assertRaisesRegex(steps.SetupError, "in use by another Rust kernel"):
                with lab.served(self.folder / "state", {}):
                    self.fail("it was started")

    def test_the_copy_of_the_notebook_goes_whatever_happens(self) -> None:
        with mock.patch.object(browser, "COPY", self.folder / "copy.ipynb"):
            with self.assertRaises(ZeroDivisionError), browser.copied_notebook() as copy:
                self.assertEqual(copy.read_bytes(), kernel.NOTEBOOK.read_bytes())
                raise ZeroDivisionError
            self.assertFalse(copy.exists())


if __name__ == "__main__":
    unittest.main()
