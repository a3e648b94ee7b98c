"""A long recording, classified as it is read.

| row | ours | peer |
|---|---|---|
| `long_vs_librosa` | seconds for the recording, from the call to the answer | librosa in blocks, the same network as TorchScript |
| `long_realtime` | how many seconds of sound in one | 300 |
| `long_memory` | what it takes over what five seconds take, at its peak | 300 MB |
| `long_ced_memory` | the same of a CED (a small one: it holds some pieces and what was made of each, whatever its size) | 300 MB |

The recording is an hour, or as many as LONG_HOURS says, of the clips that the other stages use, one behind the other, as 16 bits at 16 kHz.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import time
import wave

import small
from front_end import clips
from harness import BENCH, ROOT, WORK, Row, build_example, peer_python

FOLDER = WORK / "long"
RATE = 16_000
HOURS = float(os.environ.get("LONG_HOURS", "1"))
REALTIME = 300
MEMORY_MB = 300
ROUNDS = 3


def measure(arguments: argparse.Namespace) -> list[Row]:
    """The rows."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (ours,) = build_example("predict", "torch", "download")
    (export,) = build_example("export", "torch", "download")
    subprocess.run([export, small.RELEASED, FOLDER / "network"], check=True, stdout=subprocess.DEVNULL)
    python = peer_python()
    recording, short = FOLDER / "long.wav", FOLDER / "short.wav"
    write(python, clips(arguments.clips), recording, short)
    peer = [str(python), str(BENCH / "long_peer.py"), str(recording), str(FOLDER / "network" / "model.pt")]
    # What stands on our library path is not for the peer's torch.
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    times: list[tuple[float, float]] = []
    for _ in range(min(ROUNDS, arguments.rounds)):
        times.append((seconds([ours, str(recording)], dict(os.environ)), seconds(peer, environment)))
    ours_s, peer_s = (statistics.median(side) for side in zip(*times))
    ratio = statistics.median(theirs / own for own, theirs in times)
    realtime = 3600 * HOURS / ours_s
    memory = small.memory([ours], [str(recording)]) - small.memory([ours], [str(short)])
    heard_by_ced = [ours, "--model", str(small_ced())]
    of_ced = small.memory(heard_by_ced, [str(recording)]) - small.memory(heard_by_ced, [str(short)])
    return [
        Row("long_vs_librosa", ours_s, peer_s, "s", ratio, 3.0),
        Row("long_realtime", realtime, REALTIME, "x", realtime / REALTIME, 1.0),
        Row("long_memory", memory, MEMORY_MB, "MB", MEMORY_MB / max(memory, 1.0), 1.0),
        Row("long_ced_memory", of_ced, MEMORY_MB, "MB", MEMORY_MB / max(of_ced, 1.0), 1.0),
    ]


def small_ced() -> pathlib.Path:
    """A folder as Hugging Face's with a CED of random weights."""
    folder, golden = FOLDER / "ced", ROOT / "tests" / "golden" / "ced"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(golden / "mean.config.json", folder / "config.json")
    shutil.copyfile(golden / "mean.safetensors", folder / "model.safetensors")
    return folder


def seconds(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    json.loads(said)
    return time.perf_counter() - start


def write(python: pathlib.Path, recordings: list[pathlib.Path], long: pathlib.Path, short: pathlib.Path) -> None:
    """The clips at 16 kHz as long as they are to be, and five seconds of them."""
    code = (
        "import sys, librosa, numpy\n"
        "sounds = [librosa.load(path, sr=16000)[0] for path in sys.argv[2:]]\n"
        "(32767 * numpy.clip(numpy.concatenate(sounds), -1, 1)).astype('<i2').tofile(sys.argv[1])\n"
    )
    raw = FOLDER / "clips.raw"
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    subprocess.run([python, "-c", code, raw, *recordings], check=True, env=environment)
    samples = raw.read_bytes()
    for path, length_s in ((long, 3600 * HOURS), (short, 5)):
        left = round(length_s * RATE) * 2
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            while left > 0:
                file.writeframesraw(samples[:left])
                left -= len(samples)
