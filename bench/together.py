"""Several processes that train one network, on this machine.

| row | ours | peer |
|---|---|---|
| `together_clips` | clips/s of 2 processes of half the threads, good preset | one process of all threads |
| `together_clips_exact` | the same with `clips_at_once`, whose numbers do not depend on the processes | one process, likewise |
| `together_sum_N` | seconds to add up 0.72 million numbers (TinyAST) of N processes | torch.distributed, Gloo |
| `together_sum_ast_N` | the same of 87 million (AST) | torch.distributed, Gloo |

The machine's threads are shared out among the processes. What follows from these numbers for more machines is told in docs/scale.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess

from harness import BENCH, WORK, Row, build_example, peer_python

FOLDER = WORK / "together"
ROUNDS = 5
EPOCHS = 3
CLIPS_AT_ONCE = 4
TINY_AST = 720_000
AST = 87_000_000
SETTINGS = """preset = "good"
[data]
raw_dir = "{folder}/raw"
processed_dir = "{folder}/processed"
models_dir = "{folder}/models"
{source}
[train]
epochs = {epochs}
max_clips = 160
validate = false
{more}
"""


def measure(arguments: argparse.Namespace) -> list[Row]:
    """The rows."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (train,) = build_example("train", "distributed")
    (ours,) = build_example("bench_together", "distributed")
    rounds = min(ROUNDS, arguments.rounds)
    rows = [clips("together_clips", train, "", rounds)]
    rows.append(clips("together_clips_exact", train, f"clips_at_once = {CLIPS_AT_ONCE}", rounds))
    peer = [str(peer_python()), str(BENCH / "together_peer.py")]
    for name, numbers, times in (("together_sum", TINY_AST, 200), ("together_sum_ast", AST, 9)):
        for n in (2, 4):
            pairs = []
            for _ in range(3):
                work = [str(numbers), str(times)]
                pairs.append((seconds([str(ours), *work], n, True), seconds([*peer, *work], n, False)))
            own, theirs = (statistics.median(side) for side in zip(*pairs))
            ratio = statistics.median(theirs / own for own, theirs in pairs)
            rows.append(Row(f"{name}_{n}", own, theirs, "s", ratio, 1.0))
    return rows


def clips(name: str, train: pathlib.Path, more: str, rounds: int) -> Row:
    """Clips/s of two processes beside those of one, taking turns."""
    settings = FOLDER / "settings.toml"
    settings.write_text(SETTINGS.format(folder=FOLDER, source='source = "Demo"', epochs=EPOCHS, more=more))
    pairs = [(speed(train, settings, 2), speed(train, settings, 1)) for _ in range(rounds)]
    two, one = (statistics.median(side) for side in zip(*pairs))
    return Row(name, two, one, "clips/s", statistics.median(two / one for two, one in pairs), 0.95)


def speed(train: pathlib.Path, settings: pathlib.Path, n: int) -> float:
    """Clips/s over the epochs after the first."""
    subprocess.run([train, settings, "--processes", str(n)], check=True, stdout=subprocess.DEVNULL)
    with open(FOLDER / "models" / "good-demo-history.csv", encoding="utf-8") as file:
        return statistics.median(float(row["clips_per_s"]) for row in list(csv.DictReader(file))[1:])


def seconds(command: list[str], n: int, is_ours: bool) -> float:
    """What process 0 of `n` says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = dict(os.environ)
    if not is_ours:
        # What stands on our library path is not for the peer's torch.
        environment.pop("LD_LIBRARY_PATH", None)
    threads = str(max(1, (os.cpu_count() or 1) // n))
    place = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": threads}
    processes = []
    for rank in range(n):
        variables = {**environment, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        processes.append(subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True))
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"{command[0]} failed in one of {n} processes")
    return float(json.loads(said[0])["seconds"])
