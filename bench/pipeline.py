"""The stages around the front end, on a whole data set: all cores, unpacking, memory.

| row | ours | peer |
|---|---|---|
| `scaling_all_cores` | preprocessing 400 clips in one process on all cores | one-thread processes, one per core, each on its share |
| `compare_2000` | preprocessing 2,000 clips again, every file told by a hash of what it holds | the first run |
| `unpack_vs_tar` | the archive of these clips to a folder verified against its table | `tar xzf` alone |
| `memory_growth` | the most a process held while it preprocessed 2,000 clips | the same for 100 clips |
| `memory_peak` | that for 2,000 clips, less what the process held before | the limit |
"""
from __future__ import annotations

import argparse
import csv
import os
import pathlib
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable

from harness import WORK, Row, Worker, alternate, build_example, clear, num_cores, peer_python

# 100 of the 400 clips, of all classes and folds; 20 times as many are 2,000.
SMALL = slice(None, None, 4)
COPIES = 20
MEMORY_LIMIT_MB = 50.0


def measure(arguments: argparse.Namespace) -> list[Row]:
    """The rows of the pipeline; those of memory on Linux alone, whose /proc tells it."""
    command = build_example("bench_pipeline", "download")
    folder = WORK / "pipeline" / ("esc10" if os.environ.get("ESC10_DIR") else "demo")
    archive = make_archive(command, folder)
    dataset = folder / "dataset"
    if not dataset.exists():
        part = folder / "dataset.part"
        clear(part)
        untar(archive, part)
        part.rename(dataset)
    rows = [
        scaling(command, dataset, folder, arguments.rounds),
        comparing(command, dataset, folder, arguments.rounds),
        unpacking(command, archive, folder, arguments.rounds),
    ]
    if sys.platform == "linux":
        rows += memory(command, dataset, folder, arguments.rounds)
    return rows


def make_archive(command: list[str], folder: pathlib.Path) -> pathlib.Path:
    """The archive of 400 clips in the ESC-50 layout, made when missing: ESC-10, or the demo data set."""
    archive = folder / "dataset.tar.gz"
    if archive.exists():
        return archive
    print(f"making {archive} ...", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "part.tar.gz"
    if esc10 := os.environ.get("ESC10_DIR"):
        subprocess.run([peer_python(), pathlib.Path(esc10) / "make_archive.py", part], check=True)
    else:
        worker = Worker(command, threads=None)
        worker.ask(job="demo", root=str(folder / "demo"), clips_per_fold=8)
        worker.close()
        with tarfile.open(part, "w:gz", compresslevel=6) as tar:
            tar.add(folder / "demo", "ESC-50-master")
    return part.rename(archive)


def untar(archive: pathlib.Path, folder: pathlib.Path) -> None:
    """Unpacks with tar into a folder that is there."""
    subprocess.run(["tar", "xzf", archive, "-C", folder, "--strip-components", "1"], check=True)


def link(dataset: pathlib.Path, folder: pathlib.Path, some: slice, copies: int = 1) -> None:
    """Makes a data set of some rows of another, as often as told, its clips being hard links."""
    with open(dataset / "meta" / "esc50.csv", newline="") as table:
        rows = list(csv.DictReader(table))[some]
    clear(folder)
    for name in ("audio", "meta"):
        (folder / name).mkdir()
    with open(folder / "meta" / "esc50.csv", "w", newline="") as table:
        writer = csv.DictWriter(table, rows[0].keys())
        writer.writeheader()
        for copy in range(copies):
            for row in rows:
                filename = f"{copy:02}-{row['filename']}"
                os.link(dataset / "audio" / row["filename"], folder / "audio" / filename)
                writer.writerow(row | {"filename": filename})


def seconds(work: Callable[[], object]) -> float:
    """What some work takes when nothing written before it still waits for the disk."""
    os.sync()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(
    name: str, ours: Callable[[], float], peer: Callable[[], float], rounds: int, unit: str, target: float
) -> Row:
    """Measures one row."""
    print(f"{name} ...", flush=True)
    ours_median, peer_median, ratio = alternate(ours, peer, rounds)
    return Row(name, ours_median, peer_median, unit, ratio, target)


def job(dataset: pathlib.Path, processed: pathlib.Path, n_workers: int, name: str = "preprocess") -> dict:
    """Asks for preprocessing."""
    return {"job": name, "dataset": str(dataset), "processed": str(processed), "n_workers": n_workers}


def scaling(command: list[str], dataset: pathlib.Path, folder: pathlib.Path, rounds: int) -> Row:
    """One process on all cores, beside a one-thread process per core."""
    n_cores = num_cores()
    together, apart = Worker(command, threads=None), [Worker(command) for _ in range(n_cores)]
    shares = [folder / f"share_{i}" for i in range(n_cores)]
    for i, share in enumerate(shares):
        link(dataset, share, slice(i, None, n_cores))
    processed = folder / "processed"

    def ours() -> float:
        clear(processed)
        return seconds(lambda: together.ask(**job(dataset, processed, n_cores)))

    def all_shares() -> None:
        for worker, share in zip(apart, shares):
            worker.start(**job(share, processed / share.name, 1))
        for worker in apart:
            worker.answer()

    def peer() -> float:
        clear(processed)
        return seconds(all_shares)

    row = compare("scaling_all_cores", ours, peer, rounds, "s", 0.9)
    for worker in (together, *apart):
        worker.close()
    return row


def comparing(command: list[str], dataset: pathlib.Path, folder: pathlib.Path, rounds: int) -> Row:
    """A second run over 2,000 clips, which computes nothing, beside the first."""
    worker, large, processed = Worker(command, threads=None), folder / "large", folder / "processed"
    link(dataset, large, SMALL, COPIES)

    def first() -> float:
        clear(processed)
        return seconds(lambda: worker.ask(**job(large, processed, num_cores())))

    def again() -> float:
        return seconds(lambda: worker.ask(**job(large, processed, num_cores(), "compare")))

    first()
    row = compare("compare_2000", again, first, rounds, "s", 5.0)
    worker.close()
    return row


def unpacking(command: list[str], archive: pathlib.Path, folder: pathlib.Path, rounds: int) -> Row:
    """The archive to a verified folder, beside tar, which verifies nothing."""
    worker = Worker(command, threads=None)
    unpacked = folder / "unpacked"

    def ours() -> float:
        clear(unpacked)
        return seconds(lambda: worker.ask(job="unpack", archive=str(archive), destination=str(unpacked)))

    def peer() -> float:
        clear(unpacked)
        return seconds(lambda: untar(archive, unpacked))

    row = compare("unpack_vs_tar", ours, peer, rounds, "s", 0.9)
    worker.close()
    return row


def memory(command: list[str], dataset: pathlib.Path, folder: pathlib.Path, rounds: int) -> list[Row]:
    """The most that preprocessing on all cores takes, each measurement in a process of its own."""
    small, large, processed = folder / "small", folder / "large", folder / "processed"
    link(dataset, small, SMALL)
    link(dataset, large, SMALL, COPIES)

    def peak_mb(data: pathlib.Path, over_start: bool = False) -> float:
        clear(processed)
        worker = Worker(command, threads=None)
        before = worker.ask(job="memory")
        worker.ask(**job(data, processed, num_cores()))
        after = worker.ask(job="memory")
        worker.close()
        return after["peak_mb"] - (before["held_mb"] if over_start else 0.0)

    return [
        compare("memory_growth", lambda: peak_mb(large), lambda: peak_mb(small), rounds, "MB", 0.9),
        compare("memory_peak", lambda: peak_mb(large, over_start=True), lambda: MEMORY_LIMIT_MB, rounds, "MB", 1.0),
    ]
