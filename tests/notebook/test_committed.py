"""The committed notebook: how it is written, and how a change of its outputs is noticed."""

from __future__ import annotations

import base64
import copy
import json
import re
import statistics
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "setup"))

import drift  # noqa: E402  (found only after the line above)

NOTEBOOK = ROOT / "audio_transformer_pipeline.ipynb"


class TheCommittedNotebook(unittest.TestCase):
    """Reads well without being run, on GitHub and in a JupyterLab that does not trust it."""

    def setUp(self) -> None:
        self.text = NOTEBOOK.read_text(encoding="utf-8")
        self.cells = json.loads(self.text)["cells"]
        self.code = drift.code_cells(NOTEBOOK)
        self.html = ["".join(o.get("data", {}).get("text/html", "")) for cell in self.code for o in cell["outputs"]]

    def test_prose_stands_before_every_cell(self) -> None:
        for before, cell in zip([None, *self.cells], self.cells):
            if cell["cell_type"] == "code":
                self.assertEqual(before and before["cell_type"], "markdown", drift.source(cell))

    def test_the_measurement_of_its_waits_finds_its_cells(self) -> None:
        sys.path.insert(0, str(ROOT / "bench"))
        import notebook

        config, picture = notebook.places([drift.source(cell) for cell in self.code])
        self.assertIn("let config =", config)
        self.assertGreater(picture, 0)
        self.assertTrue(notebook.BODY in notebook.EDITED.read_text(encoding="utf-8"))

    def test_cells_are_short(self) -> None:
        lengths = [len(drift.source(cell).splitlines()) for cell in self.code if "= Config {" not in drift.source(cell)]
        self.assertLessEqual(statistics.median(lengths), 4)
        self.assertLessEqual(max(lengths), 12)

    def test_no_variable_takes_the_name_of_a_function_that_a_cell_calls(self) -> None:
        code = "\n".join(drift.source(cell) for cell in self.code)
        variables = set(re.findall(r"\blet (?:mut )?(\w+)", code))
        called = set(re.findall(r"(?<![\w.:])(\w+)\(", code))
        self.assertEqual(variables & called, set())

    def test_every_cell_was_run_in_order(self) -> None:
        counts = [cell["execution_count"] for cell in self.code]
        self.assertNotIn(None, counts)
        self.assertEqual(counts, sorted(counts))

    def test_it_is_small(self) -> None:
        self.assertLess(len(self.text.encode()), 5_000_000)
        self.assertLessEqual(sum(html.count("<audio") for html in self.html), 10)
        for image in re.findall(r'<img [^>]*src="data:[^;]+;base64,([^"]+)"', "".join(self.html)):
            self.assertLessEqual(len(base64.b64decode(image)), 300_000)

    def test_every_picture_has_words_and_survives_without_trust(self) -> None:
        for html in self.html:
            self.assertNotIn("<svg", re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL))
            for image in re.findall(r"<img [^>]*>", html):
                self.assertRegex(image, r'^<img alt="[^"]+" .*src="data:image/')


class Drift(unittest.TestCase):
    """Outputs of another shape are told; other numbers are not."""

    def changed(self, change) -> list[str]:
        """The differences after a change to the committed notebook."""
        notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
        other = copy.deepcopy(notebook)
        change([cell for cell in other["cells"] if cell["cell_type"] == "code"])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "changed.ipynb")
            path.write_text(json.dumps(other), encoding="utf-8")
            return drift.differences(NOTEBOOK, path)

    def test_the_same_notebook_has_none(self) -> None:
        self.assertEqual(self.changed(lambda code: None), [])

    def test_other_numbers_are_no_difference(self) -> None:
        def louder(code) -> None:
            stream = next(output for cell in code for output in cell["outputs"] if output["output_type"] == "stream")
            stream["text"] = ["something else\n"]

        self.assertEqual(self.changed(louder), [])

    def test_a_picture_less_an_output_less_and_another_cell_are(self) -> None:
        def picture(code) -> None:
            cell = next(cell for cell in code if "<img" in json.dumps(cell["outputs"]))
            html = "".join(cell["outputs"][0]["data"]["text/html"])
            cell["outputs"][0]["data"]["text/html"] = [html.replace("<img", "<b", 1)]

        def output(code) -> None:
            next(cell for cell in code if cell["outputs"])["outputs"].clear()

        def cell(code) -> None:
            code[0]["source"] = ["1 + 1"]

        self.assertIn("picture", self.changed(picture)[0])
        self.assertEqual(len(self.changed(output)), 1)
        self.assertEqual(self.changed(cell), ["the cells themselves differ"])


if __name__ == "__main__":
    unittest.main()
