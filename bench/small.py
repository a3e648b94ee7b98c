"""`predict` without libtorch, beside the one with it.

| row | ours | peer |
|---|---|---|
| `small_build` | seconds to build it from nothing, all cores | two minutes |
| `small_start` | from the call to the first answer, a file that is not there | 50 ms |
| `small_start_vs_libtorch`, `small_file_vs_libtorch` | the same; a recording of a folder | the program on libtorch |
| `small_memory_vs_libtorch`, `small_disk_vs_libtorch` | its peak; the program, its libraries and its network | the program on libtorch |
| `int8_file`, `int8_disk` | the network in 8 bits: time for a recording, size | in 32-bit floats |

What 8 bits cost in accuracy is printed where ESC10_DIR names ESC-10's recordings: on fold 1, which the released network never heard.
"""
from __future__ import annotations

import argparse
import csv
import json
import os
import pathlib
import shutil
import subprocess
import time

from front_end import clips
from harness import ROOT, WORK, Row, alternate, build_example

FOLDER = WORK / "small"
FEATURES = ["--no-default-features", "--features", "onnx", "--example", "predict"]
RELEASED = ROOT / "data" / "models" / "tinyast-esc10.safetensors"
MISSING = str(FOLDER / "missing.wav")
BUILD_S = 120
START_S = 0.05
HELD_OUT = "1"


def measure(arguments: argparse.Namespace) -> list[Row]:
    """The rows."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    build_s, small = build()
    (with_libtorch,) = build_example("predict", "torch", "download")
    (export,) = build_example("export", "torch", "download")
    networks = {}
    for name, options in (("float", []), ("int8", ["--int8"])):
        subprocess.run([export, *options, RELEASED, FOLDER / name], check=True, stdout=subprocess.DEVNULL)
        networks[name] = FOLDER / name / "model.onnx"
    recordings = [str(path) for path in clips(arguments.clips)]
    rows = [Row("small_build", build_s, BUILD_S, "s", BUILD_S / build_s, 1.0)]
    start_s, other_s, ratio = sides([small], [with_libtorch], [MISSING], arguments.rounds)
    rows.append(Row("small_start", 1e3 * start_s, 1e3 * START_S, "ms", START_S / start_s, 1.0))
    rows.append(Row("small_start_vs_libtorch", 1e3 * start_s, 1e3 * other_s, "ms", ratio, 1.0))
    # Whole runs over many recordings: starting counts little.
    n, rounds = len(recordings), max(1, arguments.rounds // 3)
    ours_s, other_s, ratio = sides([small], [with_libtorch], recordings, rounds)
    rows.append(Row("small_file_vs_libtorch", 1e3 * ours_s / n, 1e3 * other_s / n, "ms/file", ratio, 1.0))
    ours, other = memory([small], recordings), memory([with_libtorch], recordings)
    rows.append(Row("small_memory_vs_libtorch", ours, other, "MB", other / ours, 1.0))
    libraries = pathlib.Path(os.environ["LIBTORCH"], "lib")
    ours = pathlib.Path(small).stat().st_size / 1e6
    other = (pathlib.Path(with_libtorch).stat().st_size + size(libraries) + RELEASED.stat().st_size) / 1e6
    rows.append(Row("small_disk_vs_libtorch", ours, other, "MB", other / ours, 1.0))
    int8, floats = ([small, "--model", str(networks[name])] for name in ("int8", "float"))
    ours_s, other_s, ratio = sides(int8, floats, recordings, rounds)
    rows.append(Row("int8_file", 1e3 * ours_s / n, 1e3 * other_s / n, "ms/file", ratio, 1.0))
    ours, other = (networks[name].stat().st_size / 1e6 for name in ("int8", "float"))
    rows.append(Row("int8_disk", ours, other, "MB", other / ours, 1.0))
    if esc10 := os.environ.get("ESC10_DIR"):
        for name, command in (("32-bit floats", floats), ("8 bits", int8)):
            right, all_ = score(command, pathlib.Path(esc10))
            print(f"  fold {HELD_OUT} of ESC-10 in {name}: {right} of {all_} right ({100 * right / all_:.1f} %)", flush=True)
    return rows


def build() -> tuple[float, str]:
    """Seconds to build the program from nothing, crates downloaded, and where it is."""
    shutil.rmtree(FOLDER / "target", ignore_errors=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RUSTFLAGS", "CARGO_BUILD"))}
    environment["CARGO_TARGET_DIR"] = str(FOLDER / "target")
    subprocess.run(["cargo", "fetch", "--locked"], check=True, cwd=ROOT)
    start = time.perf_counter()
    subprocess.run(["cargo", "build", "-q", "--locked", "--release", *FEATURES], check=True, cwd=ROOT, env=environment)
    return time.perf_counter() - start, str(FOLDER / "target" / "release" / "examples" / "predict")


def run(command: list[str], recordings: list[str]) -> float:
    """Seconds from the call to the end."""
    start = time.perf_counter()
    subprocess.run([*command, *recordings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def sides(ours: list[str], peer: list[str], recordings: list[str], rounds: int) -> tuple[float, float, float]:
    return alternate(lambda: run(ours, recordings), lambda: run(peer, recordings), rounds)


def memory(command: list[str], recordings: list[str]) -> float:
    """The most that a run holds, in MB."""
    process = subprocess.Popen([*command, *recordings], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with status {process.returncode}")
    return used.ru_maxrss / 1e3


def size(folder: pathlib.Path) -> int:
    """Of the shared libraries that a program on libtorch loads."""
    return sum(path.stat().st_size for path in folder.glob("lib*.so*") if not path.is_symlink())


def score(command: list[str], esc10: pathlib.Path) -> tuple[int, int]:
    """How many recordings of the fold have their class as the most probable one."""
    with open(esc10 / "clips.csv", newline="", encoding="utf-8") as table:
        classes = {row["filename"]: row["category"] for row in csv.DictReader(table) if row["fold"] == HELD_OUT}
    stems = {pathlib.Path(name).stem: label for name, label in classes.items()}
    files = [path for path in sorted((esc10 / "ogg").iterdir()) if path.stem in stems]
    output = subprocess.run([*command, *map(str, files)], check=True, capture_output=True, text=True).stdout
    answers = [json.loads(line) for line in output.splitlines()]
    right = sum(answer["top"][0]["label"] == stems[pathlib.Path(answer["file"]).stem] for answer in answers)
    return right, len(answers)
