#!/usr/bin/env python3
"""What a GPU does: `make check-gpu`, some six minutes. Writes target/gpu-report.md, and says what it could not try.

| part | what it tells |
|---|---|
| logits | of one network on one batch, on the card beside the processor: within 1e-3, in half precision and bfloat16 2e-2 |
| steps | a training step of both presets beside PyTorch's on the same card, and how long the card had a kernel at work meanwhile |
| devices | both presets trained on processor and card, on the card in single precision, half precision and bfloat16 as well: clips/s, loss, accuracy, answers on the other device |
| resume | a run on the card that goes on after its first epoch, beside one that was not stopped: how far the weights are apart |
| nccl | `train` in one process that joins a group: built with NCCL where NCCL_INCLUDE names its headers |

CHECK_DEVICE=cpu goes through the same parts on the processor, to try the script.
"""
from __future__ import annotations

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import training
from harness import BENCH, ROOT, WORK, Worker, build_example, machine

DEVICE = os.environ.get("CHECK_DEVICE", "cuda")
REPORT = ROOT / "target" / "gpu-report.md"
# One build of the crate serves all parts.
FEATURES = "distributed"
FOLDER = WORK / "gpu"
ROUNDS = 5
STEPS = {"quick": 200, "good": 50} if DEVICE == "cuda" else {"quick": 4, "good": 1}
EPOCHS = "12" if DEVICE == "cuda" else "2"
# The peer is the PyTorch of this machine, which has to be one for its card.
PEER = os.environ.get("PEER_PYTHON", sys.executable)
SETTINGS = {
    "preset": "quick",
    "data": {name: str(FOLDER / name.removesuffix("_dir")) for name in ("raw_dir", "processed_dir", "models_dir")}
    | {"source": "Demo", "demo_clips_per_fold": 2},
    "train": {"epochs": 2, "device": "Cuda" if DEVICE == "cuda" else "Cpu"},
}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ["BENCH_DEVICE"] = DEVICE
    told = [f"# {DEVICE}: {card() or 'no card'}", machine(), f"peer: {peer_version()}"]
    for name, part in {"logits": logits, "steps": steps, "devices": devices, "resume": resume, "nccl": nccl}.items():
        begun = time.monotonic()
        try:
            said = part()
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - one part that fails says so and leaves the others theirs
            said = f"**FAILED**: {problem}"
        told.append(f"## {name} ({time.monotonic() - begun:.0f} s)\n\n{said}")
        print(told[-1], flush=True)
        REPORT.write_text("\n\n".join(told) + "\n")
    print(f"\n{REPORT}")


def steps() -> str:
    """Medians of a step on both sides, taking turns."""
    ours = Worker(build_example("bench_training", FEATURES), threads=None)
    peer = Worker([PEER, BENCH / "training_peers.py", "steps"], threads=None)
    lines = ["| preset | ours | PyTorch | ratio | target | kernels at work |", "|---|---|---|---|---|---|"]
    for preset, network in (("quick", "vit"), ("good", "by_hand")):
        path = str(FOLDER / f"{preset}.safetensors")
        ours.ask(job="start", preset=preset, path=path)
        peer.ask(job="start", path=path, network=network, variant="eager")
        run_ours = lambda: ours.ask(job="steps", preset=preset, n_steps=STEPS[preset])["seconds"]  # noqa: B023, E731
        run_peer = lambda: peer.ask(job="steps", variant="eager", n_steps=STEPS[preset])["seconds"]  # noqa: B023, E731
        run_ours(), run_peer()
        busy, pairs = [], []
        for _ in range(ROUNDS):
            seconds, share = at_work(run_ours)
            pairs.append((seconds, run_peer()))
            busy.append(share)
        own, theirs = (statistics.median(side) for side in zip(*pairs))
        ratio = statistics.median(theirs / own for own, theirs in pairs)
        share = f"{statistics.median(busy):.0f} %" if all(one is not None for one in busy) else "unknown"
        lines.append(f"| {preset} | {1e3 * own:.2f} ms | {1e3 * theirs:.2f} ms | {ratio:.2f} | 1.0 | {share} |")
    ours.close()
    peer.close()
    return "\n".join(lines)


def at_work(work: Callable[[], float]) -> tuple[float, float | None]:
    """What work gives, and the share of its time in which the card had a kernel at work, in per cent."""
    shares, done = [], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            if (said := smi("utilization.gpu")) is not None:
                shares.append(float(said))

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = work()
    done.set()
    watcher.join()
    return result, statistics.mean(shares) if shares else None


def smi(what: str) -> str | None:
    """What nvidia-smi says of the first card."""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits", "--id=0"]
    if shutil.which(command[0]) is None:
        return None
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return answer.stdout.strip() if answer.returncode == 0 and answer.stdout.strip() else None


def card() -> str | None:
    return smi("name,driver_version,memory.total")


def peer_version() -> str:
    script = "import torch; print(torch.__version__, torch.cuda.is_available())"
    answer = subprocess.run([PEER, "-c", script], capture_output=True, text=True)
    return answer.stdout.strip() or "no PyTorch in " + PEER


def devices() -> str:
    """The table of bench_device."""
    command = build_example("bench_device", FEATURES)
    answer = subprocess.run([*command, EPOCHS], capture_output=True, text=True, timeout=240, cwd=ROOT)
    if answer.returncode:
        raise RuntimeError(answer.stderr[-400:])
    return "\n".join(line for line in answer.stdout.splitlines() if line.startswith("|"))


def logits() -> str:
    """Logits of one network on both devices; more than 1e-3 apart, or 2e-2 in reduced precision, is a failure."""
    return said("logits")


def resume() -> str:
    """Weights of a run that was stopped in its second epoch and went on, beside those of one that was not."""
    return said("resume")


def said(what: str) -> str:
    """The last line of bench_device."""
    command = [*build_example("bench_device", FEATURES), what]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    if answer.returncode:
        raise RuntimeError(answer.stderr[-400:])
    return answer.stdout.strip().splitlines()[-1]


def nccl() -> str:
    """One process that joins a group of one."""
    train = build_example("train", FEATURES)
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29731"}
    alone, joined = trained(train, "alone", 2, {}), trained(train, "joined", 2, place)
    built = "with NCCL" if os.environ.get("NCCL_INCLUDE") else "without NCCL: NCCL_INCLUDE names no headers, Gloo carries"
    return f"built {built}; alone {alone}, in a group {joined}"


def trained(train: list[str], name: str, epochs: int, place: dict[str, str]) -> str:
    """The last line of the history of a run."""
    settings = SETTINGS | {"train": SETTINGS["train"] | {"epochs": epochs, "run_name": name, "resume": False}}
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(settings))
    answer = subprocess.run([*train, path], capture_output=True, text=True, timeout=120, env=os.environ | place)
    if answer.returncode:
        raise RuntimeError(answer.stderr[-400:])
    history = pathlib.Path(SETTINGS["data"]["models_dir"]).glob(f"{name}-*history.csv")
    return "loss " + next(history).read_text().splitlines()[-1].split(",")[1]


if __name__ == "__main__":
    main()
