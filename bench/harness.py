"""What every benchmark shares: the peers' environment, our build, workers that take turns, the table and its file."""
from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
WORK = ROOT / "target" / "bench"
RESULTS = ROOT / "target" / "bench.json"
ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
}


@dataclass
class Row:
    """One line of the table. `ratio` is higher-is-better, `target` its minimum."""

    name: str
    ours: float
    peer: float
    unit: str
    ratio: float
    target: float


def peer_python() -> pathlib.Path:
    """The Python of the peers' environment, which is made when missing or when requirements.txt has changed."""
    venv = ROOT / ".tools" / "bench-venv"
    python = venv / "bin" / "python"
    stamp = venv / "requirements.sha256"
    wanted = hashlib.sha256((BENCH / "requirements.txt").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing the peers into {venv.relative_to(ROOT)} (torch brings several GB) ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", BENCH / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    return python


def build_example(name: str, *features: str) -> list[str]:
    """Builds an example as the notebook builds the crate (dev profile, dynamic std) and gives the command to run it.

    The crate has its audio front end and what `features` add.
    """
    host = next(
        line.split()[1]
        for line in subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout.splitlines()
        if line.startswith("host:")
    )
    target_dir = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target" / "evcxr" / "target"))
    environment = os.environ | {"RUSTFLAGS": "-Cprefer-dynamic", "CARGO_TARGET_DIR": str(target_dir)}
    command = ["cargo", "build", "--locked", "--no-default-features", "--target", host, "--example", name]
    command += ["--features", ",".join(features)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    return [str(target_dir / host / "debug" / "examples" / name)]


class Worker:
    """A process that answers one line of JSON with another, kept alive so that only the work is measured."""

    def __init__(
        self,
        command: list[str | pathlib.Path],
        threads: int | None = 1,
        environment: dict[str, str] | None = None,
    ) -> None:
        environment = os.environ | (ONE_THREAD if threads == 1 else {}) | (environment or {})
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )

    def ask(self, **job) -> dict:
        """Hands over a job and waits for the answer."""
        self.start(**job)
        return self.answer()

    def start(self, **job) -> None:
        """Hands over a job."""
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict:
        """Waits for the answer to the job handed over, passing over the progress that a stage prints."""
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"{self.process.args} ended with status {self.process.wait()} before it answered")

    def close(self) -> None:
        """Lets the process end."""
        self.process.stdin.close()
        self.process.wait()


def clear(folder: pathlib.Path) -> None:
    """Empties a folder: replacing files costs some file systems much more than making them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def alternate(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Medians of both sides, and of peer / ours pair by pair; the sides take turns, and turns at going first.

    A round before the measured ones warms the caches.
    """
    pairs = []
    for round_ in range(rounds + 1):
        if round_ % 2:
            theirs = peer()
            pairs.append((ours(), theirs))
        else:
            pairs.append((ours(), peer()))
    pairs = pairs[1:]
    return (
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
        statistics.median(pair[1] / pair[0] for pair in pairs),
    )


def publish(rows: list[Row]) -> None:
    """Prints the rows and puts them into target/bench.json in place of older ones of the same name."""
    print(f"\n| {'row':26} | {'ours':>10} | {'peer':>10} | {'unit':8} | {'ratio':>6} | {'target':>6} |   |")
    print(f"|{'-' * 28}|{'-' * 12}|{'-' * 12}|{'-' * 10}|{'-' * 8}|{'-' * 8}|---|")
    for row in rows:
        prediction = "met" if row.ratio >= row.target else "NOT MET"
        print(
            f"| {row.name:26} | {row.ours:10.3f} | {row.peer:10.3f} | {row.unit:8} "
            f"| {row.ratio:6.2f} | {row.target:6.2f} | {prediction} |"
        )
    names = {row.name for row in rows}
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    merged = [row for row in old if row["name"] not in names] + [vars(row) for row in rows]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    beside = RESULTS.with_suffix(".part")
    beside.write_text(json.dumps(merged, indent=1) + "\n")
    beside.replace(RESULTS)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """The processor and the number of its cores that this process may use."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return f"{model}, {num_cores()} cores"
