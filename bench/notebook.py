"""How long a person waits for the notebook: `python bench/run.py notebook` (or `make bench-notebook`).

A kernel is started and its cells run one by one, as someone stepping through does. `peer` is the limit in the row's
unit, so the ratio that must be reached is 1.

| row | from → to |
|---|---|
| `kernel_ready` | kernel started → it answers |
| `first_picture` | kernel started → the notebook's first picture has come |
| `first_variable` | kernel started → a variable of the notebook's first `let` can be read in another cell |
| `cell_median`, `cell_worst` | an ordinary cell sent → done; the cells have next to no work of their own |
| `edited_source` | a function body in `src/` edited, the cell that calls it sent → done |
| `kernel_memory` | what the kernel's process holds after all that |
"""
from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from queue import Empty

from harness import ROOT, Row

sys.path.insert(0, str(ROOT / "setup"))
import drift  # noqa: E402  (found only after the line above)
import jupyter  # noqa: E402
import kernel  # noqa: E402

DATA_DIR = "target/bench/notebook-data"
# Each with next to no work of its own; together what cells of the notebook do.
ORDINARY_CELLS = [
    'println!("{}", config.data.source);',
    "let n_mels = config.features.n_mels;",
    "config.validate()?;",
    "let quick = Preset::Quick.model();",
    'println!("{:?} {n_mels}", quick.input_size);',
    "fn doubled(n: usize) -> usize { n * 2 }",
    "doubled(n_mels)",
    "let label_count: Option<usize> = config.model.num_classes;",
    "show::model(&quick, 10)?",
    'html::Html::text("a line")',
]
LIMITS = {
    "kernel_ready": (5.0, "s"),
    "first_picture": (20.0, "s"),
    "first_variable": (25.0, "s"),
    "cell_median": (0.9, "s"),
    "cell_worst": (2.0, "s"),
    "edited_source": (10.0, "s"),
    "kernel_memory": (1.2, "GB"),
}
# The function whose body is edited, and its text there.
EDITED = ROOT / "src" / "show" / "html.rs"
BODY = "        Html(format!(\"<p style=\\\"margin:4px 0\\\">{}</p>\", escape(text)))\n"
CELL_LIMIT_S = 600


def measure(arguments: argparse.Namespace) -> list[Row]:
    """The rows, medians over a few kernels; `cell_worst` is the median of each kernel's slowest cell."""
    rounds = min(arguments.rounds, 5)
    sources = [drift.source(cell) for cell in drift.code_cells(kernel.NOTEBOOK)]
    seen: dict[str, list[float]] = {name: [] for name in LIMITS}
    print(f"measuring {rounds} kernels, one after the other", flush=True)
    for round_ in range(rounds + 1):
        found = one_kernel(sources)
        # The first one warms what lies on disk.
        if round_ > 0:
            print("  " + ", ".join(f"{name} {value:.2f}" for name, value in found.items()), flush=True)
            for name, value in found.items():
                seen[name].append(value)
    rows = []
    for name, (limit, unit) in LIMITS.items():
        value = statistics.median(seen[name])
        rows.append(Row(name, value, limit, unit, limit / value, 1.0))
    return rows


def places(sources: list[str]) -> tuple[str, int]:
    """The cell with the settings, and the number of the first with a picture."""
    config = next(source for source in sources if re.search(r"let \w+ = Config \{", source))
    return config, next(index for index, source in enumerate(sources) if "show::" in source)


def one_kernel(sources: list[str]) -> dict[str, float]:
    """What one kernel showed, from its start to its end."""
    found = {}
    config, picture = places(sources)
    started = time.monotonic()
    with running_kernel() as cells:
        found["kernel_ready"] = time.monotonic() - started
        for source in sources[:picture]:
            cells.run(source)
        if "<img" not in cells.run(sources[picture]):
            raise SystemExit("the notebook's first `show::` cell left no picture")
        found["first_picture"] = time.monotonic() - started
        cells.run(config)
        cells.run('println!("{}", config.train.epochs);')
        found["first_variable"] = time.monotonic() - started
        seconds = [cells.seconds(source) for source in ["use audio_transformer::show::html;", *ORDINARY_CELLS]]
        found["cell_median"], found["cell_worst"] = statistics.median(seconds), max(seconds)
        with edited():
            found["edited_source"] = cells.seconds('html::Html::text("a line").as_str().len()')
        # With the file as it was again, so that the next kernel finds nothing to build.
        cells.run("1")
        found["kernel_memory"] = cells.memory_gb()
    return found


class Cells:
    """A running kernel that cells are sent to."""

    def __init__(self, manager, client) -> None:
        self.manager, self.client = manager, client

    def send(self, source: str) -> str:
        """Sends a cell and does not wait for it; the name of the request."""
        return self.client.execute(source)

    def interrupt(self) -> None:
        """Interrupts the cell that runs, and waits until the kernel takes the next one."""
        self.manager.interrupt_kernel()
        deadline = time.monotonic() + CELL_LIMIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(Empty):
                message = self.client.get_iopub_msg(timeout=1)
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    return
        raise SystemExit("the kernel did not answer to an interrupt")

    def run(self, source: str) -> str:
        """Runs a cell and gives what it shows; anything on stderr ends the program."""
        request = self.send(source)
        shown, idle = "", False
        deadline = time.monotonic() + CELL_LIMIT_S
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=0.05 if idle else 1)
            except Empty:
                if idle:
                    return shown
                if time.monotonic() > deadline or not self.manager.is_alive():
                    raise SystemExit(f"the kernel did not answer: {source}") from None
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "error" or (kind == "stream" and content["name"] == "stderr"):
                raise SystemExit(f"a cell failed: {source}\n{content}")
            if kind in ("execute_result", "display_data"):
                shown += "".join(str(value) for value in content["data"].values())
            if kind == "status" and content["execution_state"] == "idle" and message["parent_header"].get("msg_id") == request:
                idle = True
                self.done = time.monotonic()

    def seconds(self, source: str) -> float:
        """How long a cell takes from being sent to the kernel being idle again."""
        started = time.monotonic()
        self.run(source)
        return self.done - started

    def memory_gb(self) -> float:
        """What the kernel's process holds, without the child that runs the cells."""
        pid = self.manager.provisioner.pid
        if sys.platform == "linux":
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1e6
        told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True)
        return int(told.stdout) / 1e6


@contextlib.contextmanager
def running_kernel(data_dir: pathlib.Path | str = DATA_DIR) -> Iterator[Cells]:
    """A kernel of the project on the demo data, with its data under `data_dir`; shut down at the end whatever happens."""
    os.environ.update({**jupyter.environment(), "DATA_DIR": str(data_dir), "DATASET": "demo"})
    from jupyter_client.manager import KernelManager  # once the variables above say where kernels are

    manager = KernelManager(kernel_name=kernel.KERNEL)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as words:
        manager.start_kernel(cwd=str(ROOT), stdout=words, stderr=words)
        client = manager.client()
        client.start_channels()
        try:
            try:
                client.wait_for_ready(timeout=CELL_LIMIT_S)
            except RuntimeError as error:
                words.seek(0)
                raise SystemExit(f"{error}; the kernel's last words:\n{words.read()[-2000:]}") from error
            yield Cells(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


@contextlib.contextmanager
def edited() -> Iterator[None]:
    """`src/` with another body of a function, for as long as it lasts."""
    original = EDITED.read_text(encoding="utf-8")
    if BODY not in original:
        raise SystemExit(f"{EDITED} does not hold the function body that the benchmark edits")
    try:
        EDITED.write_text(original.replace(BODY, f"        let text = text.trim();\n{BODY}"), encoding="utf-8")
        yield
    finally:
        EDITED.write_text(original, encoding="utf-8")
