"""What a person does with the notebook in JupyterLab, and what must be on the page after it.

`scenario.py ADDRESS NOTEBOOK CHROMIUM OUTPUT`: the address of a copy in a running JupyterLab ($JUPYTER_TOKEN lets in),
the notebook file it was copied from, the browser, and the folder for screenshots. Each step stands on the one before,
so the first that fails ends the test.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import microphone
import themes
import training_panel
from cells import MOVING, Cell, Failed, check_complaints, check_finished, check_media, ran_in_turn, unloaded
from notebook_page import SIZE, NotebookPage
from playwright.sync_api import Error, Locator, sync_playwright
from stored import StoredCell, code_cells

# For the whole notebook on a busy machine; idle it takes a minute.
NOTEBOOK_S = 600.0
CELL_S = 180.0
LOAD_S = 60.0
SET_UP = "Set-up"
PREPROCESS = "preprocess(&config)"
RESTART_AND_RUN = "Restart Kernel and Run All Cells…"
ALL_REUSED = "0 recordings computed, 400 reused"
# A run that does not end by itself while it is looked at.
START_RUN = """
let endless_train = TrainConfig { epochs: 2000, run_name: "endless".into(), ..config.train.clone() };
let endless = Config { train: endless_train, ..config.clone() };
let endless_run = Run::start(&endless)?;
"""
SHOW_PANEL = "show::panel(&endless_run)"
STOP_RUN = "endless_run.stop()"
RESUME_RUN = "let endless_run = Run::start(&endless)?;"
RECORD = "show::record(&takes, \"mine\")"
LIVE = "show::live"
N_VERDICTS = 8
# From the oldest new sound of a verdict to the verdict.
LATENCY_S = 1.5
BY_EAR = "show::record_each"
TAUGHT_SOUNDS = ("snap", "knock")
SOUND = "microphone.wav"
TAKE_S = 5.0
TAKE_LIMIT_S = 60.0
# What the released network makes of the last take, and of the sound itself.
BOTH_VERDICTS = """
let sound = audio::read("SOUND".as_ref())?;
let verdicts = [&heard, &sound].map(|sound| listener.predict(sound, "a".as_ref()).map(|said| said.ranked[0].0.clone()));
println!("{verdicts:?}");
"""
STATIC_PANEL = "moves by itself only where scripts are trusted"
LONG_CELL = 'println!("the long cell runs");\nstd::thread::sleep(std::time::Duration::from_secs(3600));'


class Scenario:
    """The steps, in the order in which they are taken."""

    def __init__(self, notebook: NotebookPage, address: str, stored: list[StoredCell], output: Path) -> None:
        self.notebook = notebook
        self.address = address
        self.stored = stored
        self.output = output

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Claims, each with what proves it."""
        return [
            ("the notebook opens, and its kernel answers", self.open),
            ("an untrusted copy shows every picture and player", self.shown_without_trust),
            ("Run All Cells runs every cell and leaves no complaint", self.run_all),
            ("the microphone's sound becomes a file, each take another, and the next cell hears it", self.record),
            ("a page under a cell listens, names what it hears within a second and a half, and stops", self.live),
            ("sounds recorded under a cell are learned, and asked", self.teach_by_ear),
            ("every picture is there in the light and in the dark theme, on the page's own paper, and fits a narrow window", self.both_themes),
            ("a stage runs again by itself", self.one_stage_again),
            ("a run in the background draws its curve, stops and goes on", self.background),
            ("an interrupted cell leaves the finished stages as they were", self.interrupt),
            ("Restart Kernel and Run All Cells does it all again", self.restart),
        ]

    def open(self) -> None:
        """As the browser does at the end of `make lab`."""
        self.notebook.open(self.address, os.environ["JUPYTER_TOKEN"], len(self.stored))

    def shown_without_trust(self) -> None:
        """The sanitizer of outputs nobody vouches for leaves pictures and players alone."""
        self.notebook.wait_until("the notebook is not trusted", lambda: "not trusted" in self.notebook.trust(), 60)
        self.check_media()
        panel = next(index for index, cell in enumerate(self.stored) if MOVING in cell.source)
        shown = self.notebook.cells()[panel]
        if STATIC_PANEL not in shown.text or len(shown.picture_widths) != self.stored[panel].pictures:
            raise Failed(f"code cell {panel + 1}: expected a picture that says it does not move, found: {shown.text}")

    def run_all(self) -> None:
        """From a page without outputs, so that whatever is there afterwards is new."""
        self.notebook.choose("Edit", "Clear Outputs of All Cells")
        self.notebook.wait_until("the outputs are gone", lambda: not any(c.text for c in self.notebook.cells()), 60)
        self.notebook.choose("Run", "Run All Cells")
        self.wait_for_whole_run()

    def record(self) -> None:
        """Refused first, then allowed twice; the takes are gone afterwards."""
        index = self.cell_with(RECORD)
        output = self.notebook.output_of(index)
        output.scroll_into_view_if_needed()
        button = output.get_by_role("button").first
        button.wait_for(timeout=CELL_S * 1000)

        def says(*words: str) -> bool:
            return all(word in output.inner_text() for word in words)

        button.click()
        self.notebook.wait_until("the refusal is told", lambda: says("The microphone was refused"), TAKE_LIMIT_S)
        self.notebook.page.context.grant_permissions(["microphone"])
        takes = []
        for name in ("mine.wav", "mine-2.wav"):
            takes.append(self.take(output, name))
            began_s = microphone.check_take(takes[-1], TAKE_S)
        if takes[0].parent != takes[1].parent or list(takes[0].parent.glob("*.part")):
            raise Failed(f"expected the takes alone in one folder, found {sorted(takes[0].parent.iterdir())}")
        self.notebook.photograph_as_it_stands(self.output / "microphone.png")
        asking = index + 1
        if "mine-2.wav" not in self.notebook.run_cell(asking, CELL_S).text:
            raise Failed(f"code cell {asking + 1} does not hear the last take: {self.notebook.cells()[asking].text}")
        # What was played while the last take was.
        sound = (self.output / "played.wav").resolve()
        microphone.write_sound(sound, began_s, TAKE_S)
        self.notebook.add_cell_below(asking, BOTH_VERDICTS.replace("SOUND", str(sound)))
        said = self.notebook.run_cell(asking + 1, CELL_S)
        check_complaints([said])
        verdicts = said.text.strip().removeprefix("[").removesuffix("]").split(", ")
        if len(verdicts) != 2 or verdicts[0] != verdicts[1]:
            raise Failed(f"expected one verdict on the take and on what was played, found {said.text}")
        self.notebook.delete_cell(asking + 1)
        for take in takes:
            take.unlink()

    def take(self, output: Locator, name: str) -> Path:
        """Records with the button under a cell; the file."""
        output.get_by_role("button").first.click()
        self.notebook.wait_until(
            "a take is saved", lambda: "Saved " in output.inner_text() and f"/{name}: " in output.inner_text(), TAKE_LIMIT_S
        )
        return Path(output.inner_text().split("Saved ", 1)[1].split(": ", 1)[0])

    def live(self) -> None:
        """Seconds from sound to verdict, measured by the page itself."""
        index = self.cell_with(LIVE)
        output = self.notebook.output_of(index)
        output.scroll_into_view_if_needed()
        frame = output.locator("iframe")
        frame.wait_for(timeout=CELL_S * 1000)
        page = frame.element_handle().content_frame()
        page.wait_for_selector("body[data-state=ready]", timeout=LOAD_S * 1000)
        page.click("#listen")
        latencies = []
        for n in range(1, N_VERDICTS + 1):
            heard = f"Number(document.body.dataset.verdicts || 0) >= {n}"
            self.notebook.wait_until(f"verdict {n} is there", lambda heard=heard: page.evaluate(heard), TAKE_LIMIT_S)
            latencies.append(page.evaluate("window.lastLatencyMs") / 1e3)
        self.notebook.photograph_as_it_stands(self.output / "live.png")
        page.click("#listen")
        stopped = page.evaluate("document.body.dataset.verdicts")
        self.notebook.page.wait_for_timeout(2000)
        if page.evaluate("document.body.dataset.verdicts") != stopped:
            raise Failed("expected no verdict after the page was stopped")
        median = statistics.median(latencies)
        print(f"        from sound to verdict: {median:.2f} s (median of {len(latencies)}), {max(latencies):.2f} s at most")
        if median > LATENCY_S:
            raise Failed(f"expected a verdict within {LATENCY_S} s of its sound, found {median:.2f} s")

    def teach_by_ear(self) -> None:
        """Two of the three sounds, one take each, and one to ask about; all are gone afterwards."""
        index = self.cell_with(BY_EAR)
        output = self.notebook.output_of(index)
        output.scroll_into_view_if_needed()
        takes = []
        for sound in TAUGHT_SOUNDS:
            card = output.locator("[data-run]").filter(has_text=f"{sound}/take")
            takes.append(self.take(card, "take.wav"))
        learned = self.notebook.run_cell(index + 1, CELL_S)
        if not all(f'"{sound}"' in learned.text for sound in TAUGHT_SOUNDS) or "synthesised" in learned.text:
            raise Failed(f"expected {TAUGHT_SOUNDS} to be learned, found {learned.text}")
        takes.append(self.take(self.notebook.output_of(index + 1).locator("[data-run]"), "asked.wav"))
        self.notebook.photograph_as_it_stands(self.output / "by-ear.png")
        answer = self.notebook.run_cell(index + 2, CELL_S)
        check_complaints([learned, answer])
        if "asked.wav" not in answer.text or not any(sound in answer.text for sound in TAUGHT_SOUNDS):
            raise Failed(f"expected an answer on the take, found {answer.text}")
        for take in takes:
            take.unlink()

    def cell_with(self, source: str) -> int:
        """The first code cell that holds a piece of source."""
        return next(index for index, cell in enumerate(self.stored) if source in cell.source)

    def both_themes(self) -> None:
        """Also leaves a picture of the whole notebook in each."""
        for theme in ("Dark", "Light"):
            self.notebook.use_theme(f"JupyterLab {theme}")
            self.check_media()
            themes.check(self.notebook, theme.lower())
            self.notebook.photograph(self.output / f"{theme.lower()}.png")
        themes.check_narrow(self.notebook, self.output / "narrow.png")

    def one_stage_again(self) -> None:
        """A stage that computes, and a cell that draws."""
        self.preprocess_again()
        drawing = next(index for index, cell in enumerate(self.stored) if cell.pictures)
        self.run_again(drawing)

    def background(self) -> None:
        """In cells of its own, which are gone afterwards."""
        first = len(self.stored)
        sources = [START_RUN, SHOW_PANEL, STOP_RUN, RESUME_RUN]
        for offset, source in enumerate(sources):
            self.notebook.add_cell_below(first + offset - 1, source)
        run, show, stop, resume = (first + offset for offset in range(len(sources)))
        self.notebook.run_cell(run, CELL_S)
        self.notebook.run_cell(show, CELL_S)
        panel = self.notebook.output_of(show)
        panel.locator("svg").first.wait_for(timeout=CELL_S * 1000)
        training_panel.watch(
            self.notebook, panel, stop=lambda: self.notebook.run_cell(stop, CELL_S),
            resume=lambda: self.notebook.run_cell(resume, CELL_S),
        )
        self.notebook.photograph_as_it_stands(self.output / "panel.png")
        if "stopped" not in self.notebook.run_cell(stop, CELL_S).text:
            raise Failed(f"the run did not stop: {self.notebook.cells()[stop].text}")
        check_complaints(self.notebook.cells())
        for index in reversed((run, show, stop, resume)):
            self.notebook.delete_cell(index)

    def interrupt(self) -> None:
        """Files stay, outputs stay, and after Set-up the work goes on."""
        last = len(self.stored) - 1
        self.notebook.add_cell_below(last, LONG_CELL)
        long = last + 1
        self.notebook.start_cell(long)
        self.notebook.wait_until("the long cell runs", lambda: "runs" in self.notebook.cells()[long].text, CELL_S)
        self.notebook.choose("Kernel", "Interrupt Kernel")
        self.notebook.wait_until("the long cell is over", lambda: self.notebook.cells()[long].count is not None, 60)
        # The kernel says so on stderr; did the page show that in another way, no complaint would ever be seen.
        self.notebook.wait_until("stderr tells of it", lambda: bool(self.notebook.cells()[long].complaint), 60)
        self.notebook.delete_cell(long)
        self.check_whole_page()
        for index, cell in enumerate(self.stored):
            if cell.stage == SET_UP:
                self.run_again(index)
        self.preprocess_again()

    def restart(self) -> None:
        """The counts go up from top to bottom again, which they do not before, for single cells ran later."""
        self.notebook.choose("File", "Save Notebook")
        before = self.notebook.cells()[0].count or 0
        self.notebook.restart_kernel(RESTART_AND_RUN)

        def has_begun() -> bool:
            return 0 < (self.notebook.cells()[0].count or 0) < before

        if self.notebook.kernel_answers() and self.notebook.comes_true(has_begun, CELL_S):
            self.wait_for_whole_run()
        else:
            # It may fall over JupyterLab's reconnection and be started anew, and the cells that waited are forgotten.
            print("        the restarted kernel runs no cell: the notebook is opened and run again", flush=True)
            self.open()
            self.run_all()

    def preprocess_again(self) -> None:
        """Preprocessing what is preprocessed computes nothing, and says so."""
        stage = next(index for index, cell in enumerate(self.stored) if PREPROCESS in cell.source)
        said = self.run_again(stage).text
        if ALL_REUSED not in said:
            raise Failed(f'code cell {stage + 1}: expected "{ALL_REUSED}", found "{said.strip()}"')

    def run_again(self, index: int) -> Cell:
        """Runs one cell; it must get the highest count of all, and its pictures back."""
        before = max(cell.count or 0 for cell in self.notebook.cells())
        cell = self.notebook.run_cell(index, CELL_S)
        if (cell.count or 0) <= before:
            raise Failed(f"code cell {index + 1}: expected a count above {before}, found {cell.prompt}")
        self.check_whole_page()
        return cell

    def wait_for_whole_run(self) -> None:
        """Until every cell has run in turn; stops at the first complaint."""

        def is_over() -> bool:
            cells = self.notebook.cells()
            check_complaints(cells)
            return ran_in_turn(cells) and self.notebook.idle()

        self.notebook.wait_until("every cell has run", is_over, NOTEBOOK_S)
        self.check_whole_page()

    def check_whole_page(self) -> None:
        """No cell waits, none complains, and the pictures are those of the notebook file."""
        cells = self.notebook.cells()
        check_complaints(cells)
        check_finished(cells)
        self.check_media()

    def check_media(self) -> None:
        """The pictures and players of the notebook file, all loaded."""
        check_media(self.notebook.cells(), self.stored)
        # Decoding a picture or the head of a recording takes the page a moment.
        if not self.notebook.comes_true(lambda: not unloaded(self.notebook.cells()), LOAD_S):
            numbers = ", ".join(map(str, unloaded(self.notebook.cells())))
            raise Failed(f"pictures or players that do not load: code cells {numbers}")


def play(notebook: NotebookPage, steps: list[tuple[str, Callable[[], None]]], output: Path) -> bool:
    """Takes the steps up to the first that fails."""
    for number, (claim, prove) in enumerate(steps):
        start = time.monotonic()
        try:
            prove()
        except (Failed, Error) as error:
            notebook.photograph_as_it_stands(output / "failed.png")
            print(f"FAILED  {claim}\n{error}\nThe page at that moment: {output / 'failed.png'}")
            print(f"{number} passed, 1 failed", flush=True)
            return False
        print(f"ok      {claim} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{len(steps)} passed, 0 failed", flush=True)
    return True


def main(address: str, notebook_file: str, chromium: str, folder: str) -> int:
    """Opens the notebook in the browser and plays the scenario."""
    output = Path(folder)
    output.mkdir(parents=True, exist_ok=True)
    sound = (output / SOUND).resolve()
    microphone.write_sound(sound)
    # No microphone of this machine's, and no prompt: a page has it when it was granted, and else is refused.
    fake = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={sound}"]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=fake) as browser:
        notebook = NotebookPage(browser.new_context(viewport=SIZE).new_page())
        scenario = Scenario(notebook, address, code_cells(Path(notebook_file)), output)
        return 0 if play(notebook, scenario.steps(), output) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
