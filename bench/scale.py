"""A data set of very many recordings: seconds and memory of every stage before training, and of training from shards.

| row | ours | peer |
|---|---|---|
| `scale_STAGE_s` | seconds for all rows | ten times the seconds for a tenth of them: linear growth |
| `scale_STAGE_mb` | memory at its peak, libtorch's own 117 MB among it | 500 MB |
| `scale_train_mb` | what training takes over the data set's rows at its peak, from shards, on MANY clips | the same on a quarter of them |
| `scale_read` | clips/s read at random places of the shards | numpy, memory-mapped |
| `scale_mixing` | how far the classes of 1,000 clips in turn are from those of all (total variation, per cent) | a full shuffle |

The recordings are 0.1 s of a tone in noise at 16 kHz, each in a file of its own; SCALE_ROWS names another number of them than a million. Every
stage runs in a process of its own.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import subprocess

from harness import WORK, Row, build_example, peer_python

FOLDER = WORK / "scale"
ROWS = int(os.environ.get("SCALE_ROWS", "1000000"))
STAGES = ("catalogue", "fingerprint", "verify", "acquire", "preprocess", "again", "changed", "dataset")
MEMORY_MB = 500
TRAINED = 40_000
PEER = """
import glob, json, random, sys, time
import numpy
shards = [numpy.load(name, mmap_mode="r") for name in sorted(glob.glob(sys.argv[1] + "/shard-*.npy"))]
places = [(shard, row) for shard in shards for row in range(len(shard))]
random.seed(0)
places = random.sample(places, int(sys.argv[2]))
started = time.perf_counter()
total = sum(float(numpy.array(shard[row]).sum()) for shard, row in places)
print(json.dumps({"clips_per_s": len(places) / (time.perf_counter() - started)}))
"""


def measure(_arguments: argparse.Namespace) -> list[Row]:
    """The rows."""
    (program,) = build_example("bench_scale", "download", "torch")
    shutil.rmtree(FOLDER, ignore_errors=True)
    tenth, whole = (stages(program, n) for n in (ROWS // 10, ROWS))
    rows = []
    for stage in STAGES:
        linear, seconds = 10 * tenth[stage]["seconds"], whole[stage]["seconds"]
        rows.append(Row(f"scale_{stage}_s", seconds, linear, "s", linear / seconds, 0.9))
        peak = whole[stage]["peak_mb"]
        rows.append(Row(f"scale_{stage}_mb", peak, MEMORY_MB, "MB", MEMORY_MB / peak, 1.0))
    folder = FOLDER / str(ROWS)
    many = min(TRAINED, ROWS // 4)
    quarter = ask(program, folder, "train", str(many // 4))
    all_of_them = ask(program, folder, "train", str(many))
    own, less = (answer["peak_mb"] - whole["dataset"]["peak_mb"] for answer in (all_of_them, quarter))
    rows.append(Row("scale_train_mb", own, less, "MB", less / own, 0.9))
    n = str(min(20_000, ROWS // 10))
    ours = ask(program, folder, "read", n)["clips_per_s"]
    # What stands on our library path is not for the peer.
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    command = [str(peer_python()), "-c", PEER, str(folder / "processed"), n]
    theirs = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)
    rows.append(Row("scale_read", ours, theirs["clips_per_s"], "clips/s", ours / theirs["clips_per_s"], 1.0))
    mixing = ask(program, folder, "mixing")
    print(f"{mixing['shards']} shards; clips of one stretch of 1,000 are in one again {mixing['again']:.1f} times")
    print("as often as by chance")
    grouped, full = 100 * mixing["grouped"], 100 * mixing["full"]
    rows.append(Row("scale_mixing", grouped, full, "%", full / grouped, 0.9))
    shutil.rmtree(FOLDER)
    return rows


def stages(program: str, n: int) -> dict[str, dict]:
    """What each stage answers on `n` recordings."""
    folder = FOLDER / str(n)
    answers = {"make": ask(program, folder, "make", str(n))}
    for stage in STAGES:
        if stage == "changed":
            ask(program, folder, "change")
        job = "preprocess" if stage in ("again", "changed") else stage
        answers[stage] = ask(program, folder, job)
        print(f"{n} rows, {stage}: {answers[stage]['seconds']:.1f} s, {answers[stage]['peak_mb']:.0f} MB", flush=True)
    return answers


def ask(program: str, folder: pathlib.Path, *job: str) -> dict:
    """Runs a stage in a process of its own."""
    output = subprocess.run([program, folder, *job], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(output.stdout.splitlines()[-1])
