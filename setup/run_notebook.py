"""Executes a notebook with its Rust kernel, and fails when any cell failed.

evcxr answers "ok" to a cell that panicked or whose `?` failed: all such a cell leaves is text on stderr, and often
that arrives only after the cell is over. So every message of the kernel is looked at, whenever it comes; any text on
stderr, any error output and any value shown as `Err(…)` fails the run, and so does a file that should be there
afterwards and is not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat
from jupyter_client.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter

# A cold start compiles before it answers.
STARTUP_TIMEOUT_S = 900
# How long the kernel has to stay silent after a cell before the cell is judged.
SILENCE_S = 0.05
# A cell that runs longer shows its stdout as it comes.
PATIENCE_S = 5.0
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NotebookFailed(Exception):
    """What went wrong, ready to be printed."""


@dataclass
class Cell:
    """What one code cell did."""

    number: int
    stage: str
    source: str
    seconds: float = 0.0
    picture: bool = False
    complaints: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Its first line."""
        return next((line.strip() for line in self.source.splitlines() if line.strip()), "")


@dataclass
class Report:
    """Seconds of a whole run; written as JSON for the record."""

    notebook: str
    dataset: str
    kernel_ready_s: float = 0.0
    first_picture_s: float | None = None
    total_s: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    cells: list[dict[str, Any]] = field(default_factory=list)


class Runner(NotebookClient):
    """A notebook client that misses no message, times cells, and stops at the first that failed."""

    def prepare(self, report: Report) -> None:
        """Lays out the cells to run."""
        self.report = report
        self.cells: dict[int, Cell] = {}
        self.index_of_request: dict[str, int] = {}
        self.current: int | None = None
        self.started = self.cell_started = time.monotonic()
        stage = ""
        for index, cell in enumerate(self.nb.cells):
            if cell.cell_type == "markdown" and (heading := re.search(r"^#{1,2} +(.+)$", cell.source, re.MULTILINE)):
                stage = heading[1].strip()
            if cell.cell_type == "code" and cell.source.strip():
                self.cells[index] = Cell(len(self.cells) + 1, stage, cell.source)

    async def async_start_new_kernel_client(self) -> Any:
        """Connects, waits until the kernel answers, and puts an ear on everything it publishes."""
        client = await super().async_start_new_kernel_client()
        self.report.kernel_ready_s = round(time.monotonic() - self.started, 2)
        print(f"kernel ready after {self.report.kernel_ready_s:.1f} s", flush=True)
        channel = client.iopub_channel
        get_msg = channel.get_msg

        async def listening(*args: Any, **kwargs: Any) -> Any:
            message = await ensure_async(get_msg(*args, **kwargs))
            self.listen(message)
            return message

        channel.get_msg = listening
        return client

    def listen(self, message: dict[str, Any]) -> None:
        """Books complaints with the cell they belong to, however late they come."""
        kind, content = message["msg_type"], message["content"]
        request = message["parent_header"].get("msg_id")
        if kind == "execute_input" and self.current is not None:
            self.index_of_request[request] = self.current
        index = self.index_of_request.get(request, self.current)
        if index is None:
            return
        if kind == "stream" and content["name"] == "stderr" and END_MARK not in content["text"]:
            self.cells[index].complaints.append(content["text"])
        elif kind == "error":
            self.cells[index].complaints.append("\n".join(content["traceback"]) + "\n")
        elif kind == "execute_result" and content["data"].get("text/plain", "").startswith("Err("):
            self.cells[index].complaints.append(content["data"]["text/plain"] + "\n")
        elif kind == "stream" and END_MARK not in content["text"] and time.monotonic() - self.cell_started > PATIENCE_S:
            for line in content["text"].splitlines():
                print(f"      | {line}", flush=True)

    async def async_execute_cell(self, cell: Any, cell_index: int, **kwargs: Any) -> Any:
        """Runs a cell, waits for what it still has to say, and judges it."""
        if cell_index not in self.cells:
            return cell
        this = self.cells[cell_index]
        self.current, self.cell_started = cell_index, time.monotonic()
        cell = await super().async_execute_cell(cell, cell_index, **kwargs)
        this.seconds = round(time.monotonic() - self.cell_started, 2)
        await self.drain(cell, cell_index)
        this.picture = any(is_picture(output) for output in cell.outputs)
        if this.picture and self.report.first_picture_s is None:
            self.report.first_picture_s = round(time.monotonic() - self.started, 2)
        print(f"[{this.number:3d}/{len(self.cells)}] {this.seconds:7.1f} s  {this.title[:100]}", flush=True)
        self.judge()
        return cell

    async def drain(self, cell: Any, cell_index: int) -> None:
        """Takes in what the kernel sends after it called the cell finished."""
        with contextlib.suppress(Empty):
            while True:
                message = await self.kc.iopub_channel.get_msg(timeout=SILENCE_S)
                if message["msg_type"] in ("stream", "error", "execute_result", "display_data"):
                    self.process_message(message, cell, cell_index)

    async def settle(self) -> None:
        """Sends a line through the kernel's stderr: whatever was on its way before has then arrived."""
        if not self.cells or self.kc is None:
            return
        await ensure_async(self.kc.execute(f'eprintln!("{END_MARK}");', store_history=False))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(Empty):
                message = await self.kc.iopub_channel.get_msg(timeout=1)
                if message["msg_type"] == "stream" and END_MARK in message["content"]["text"]:
                    break
        else:
            raise NotebookFailed("the kernel stopped answering after the last cell")
        self.judge()

    def judge(self) -> None:
        """Fails the run when any cell so far complained."""
        for cell in self.cells.values():
            if cell.complaints:
                raise NotebookFailed(describe(cell, "".join(cell.complaints)))

    async def execute_all(self, **kwargs: Any) -> None:
        """Runs every cell; the kernel is shut down however that ends."""
        self.reset_execution_trackers()
        async with self.async_setup_kernel(**kwargs):
            info = await ensure_async(self.kc.kernel_info(reply=True, timeout=STARTUP_TIMEOUT_S))
            self.nb.metadata["language_info"] = info["content"]["language_info"]
            for index, cell in enumerate(self.nb.cells):
                if cell.cell_type == "code":
                    await self.run_cell(cell, index)
            await self.settle()

    async def run_cell(self, cell: Any, index: int) -> None:
        """Runs a cell; a dead kernel or a time-out becomes that cell's failure."""
        try:
            await self.async_execute_cell(cell, index, execution_count=None)
        except (DeadKernelError, CellTimeoutError) as error:
            this = self.cells[index]
            raise NotebookFailed(describe(this, "".join(this.complaints) + f"{error}\n")) from error


END_MARK = "end of the notebook, nothing is left on stderr"


def is_picture(output: Any) -> bool:
    """Whether a person sees a picture there."""
    data = output.get("data", {})
    return any(mime.startswith("image/") for mime in data) or "<img" in str(data.get("text/html", ""))


def describe(cell: Cell, complaint: str) -> str:
    """A failed cell as a person reads it: where, what it ran, what came out."""
    source = "\n".join(f"    {line}" for line in cell.source.splitlines())
    output = "\n".join(f"    {line}" for line in ANSI.sub("", complaint).strip().splitlines())
    stage = f', under "{cell.stage}"' if cell.stage else ""
    return f"code cell {cell.number}{stage} failed. Its source:\n{source}\nIts stderr or error:\n{output}"


def missing_artifacts(listing: Path, data_dir: Path) -> list[str]:
    """The patterns of a listing that match no file with content."""
    lines = listing.read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [p for p in patterns if not any(f.is_file() and f.stat().st_size for f in data_dir.glob(p))]


def run(
    notebook: Path, output: Path, kernel: str, timeout_s: int | None, expect: Path | None, data_dir: Path
) -> Report:
    """Executes a notebook; writes the executed copy, the page and the seconds under `output`."""
    executed, page = output / f"{notebook.stem}.executed.ipynb", output / f"{notebook.stem}.html"
    failed, log = output / f"{notebook.stem}.failed.ipynb", output / "kernel.log"
    output.mkdir(parents=True, exist_ok=True)
    for old in (executed, page, failed):
        old.unlink(missing_ok=True)
    nb = nbformat.read(notebook, as_version=4)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    report = Report(notebook.name, os.environ.get("DATASET", "demo"))
    runner = Runner(
        nb, kernel_name=kernel, timeout=timeout_s, startup_timeout=STARTUP_TIMEOUT_S, allow_errors=True,
        record_timing=False, coalesce_streams=True, resources={"metadata": {"path": str(notebook.parent)}},
    )
    runner.prepare(report)
    print(f"running {notebook.name} ({len(runner.cells)} code cells, DATASET={report.dataset})", flush=True)
    try:
        with log.open("w", encoding="utf-8") as file:
            asyncio.run(runner.execute_all(stdout=file, stderr=file))
        if expect and (absent := missing_artifacts(expect, data_dir)):
            raise NotebookFailed(f"every cell ran, but under {data_dir} nothing matches: {', '.join(absent)}")
    except (NotebookFailed, RuntimeError, TimeoutError) as error:
        write(failed, nbformat.writes(nb))
        tail = "".join(f"    {line}\n" for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        said = f"\nThe kernel's own log ends with:\n{tail}" if tail and not isinstance(error, NotebookFailed) else ""
        raise NotebookFailed(f"{error}{said}\nThe notebook up to there: {shown(failed)}") from error
    report.total_s = round(time.monotonic() - runner.started, 2)
    for cell in runner.cells.values():
        report.stages[cell.stage] = round(report.stages.get(cell.stage, 0.0) + cell.seconds, 2)
        row = {key: value for key, value in asdict(cell).items() if key not in ("source", "complaints")}
        report.cells.append({**row, "title": cell.title})
    nb.metadata["kernelspec"] = {"display_name": "Rust (audio_transformer)", "language": "rust", "name": kernel}
    write(executed, nbformat.writes(nb) + "\n")
    write(page, HTMLExporter(embed_images=True).from_notebook_node(nb, {"metadata": {"name": notebook.stem}})[0])
    write(output / f"{notebook.stem}.times.json", json.dumps(asdict(report), indent=1) + "\n")
    return report


def write(path: Path, text: str) -> None:
    """Writes a file that appears whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def shown(path: Path) -> str:
    """A path as short as it can be named from here."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def summary(report: Report) -> str:
    """Seconds per stage, as a table."""
    width = max((len(stage) for stage in report.stages), default=0)
    lines = [f"  {stage:<{width}} {seconds:8.1f} s" for stage, seconds in report.stages.items()]
    first = f"; first picture {report.first_picture_s:.1f} s after its start" if report.first_picture_s else ""
    return "\n".join(["Seconds per stage:", *lines, f"  kernel ready after {report.kernel_ready_s:.1f} s{first}"])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for what the run makes")
    parser.add_argument("--kernel", default="audio_transformer")
    parser.add_argument("--timeout", type=int, help="seconds one cell may take; no limit without")
    parser.add_argument("--expect", type=Path, help="a glob per line, each to match under --data-dir")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    args = parser.parse_args()
    try:
        report = run(args.notebook.resolve(), args.output, args.kernel, args.timeout, args.expect, args.data_dir)
    except NotebookFailed as error:
        print(f"\nNOTEBOOK FAILED: {error}", file=sys.stderr, flush=True)
        return 1
    print(summary(report))
    print(f"Executed notebook: {shown(args.output / f'{args.notebook.stem}.executed.ipynb')}")
    print(f"Page with every picture: {shown(args.output / f'{args.notebook.stem}.html')}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
