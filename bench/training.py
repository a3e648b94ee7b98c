"""Training steps, batches and predictions, beside eager PyTorch, Hugging Face's ViT and librosa.

| row | ours | peer |
|---|---|---|
| `train_step_vs_pytorch` | a training step of the quick preset | Hugging Face's ViT of the same shape |
| `train_step_good_vs_pytorch` | a training step of the good preset | the same network and work by hand |
| `predict_warm_vs_python` | a recording to its five most probable classes | librosa and Hugging Face's ViT |
| `predict_cold_vs_python` | a process that loads the released model and answers for one file | librosa and the network by hand |
| `augment_share` | a batch of the good preset made on one thread | a tenth of its training step |

Both sides have the same weights, batches, recording and number of threads, and are checked to answer alike.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import time

from front_end import clips
from harness import BENCH, ROOT, WORK, Row, Worker, alternate, build_example, peer_python

FOLDER = WORK / "training"
# Steps whose median is a round's measurement: about a second of each preset.
N_STEPS = {"quick": 40, "good": 4}
N_PREDICTIONS = 20
N_BATCHES = 20
# As the notebook's kernel sets it (setup/kernel.py). Alone on its cores the peer of the quick preset takes 34.7 ms a step with it
# and 34.9 without; beside other work it is spared as much waiting as ours.
SPIN = {"GOMP_SPINCOUNT": "10000"}
RELEASED = ROOT / "data" / "models" / "tinyast-esc10.safetensors"
# How far the probabilities of two front ends that agree may be apart.
PROBABILITY_TOLERANCE = 1e-3


def measure(arguments: argparse.Namespace) -> list[Row]:
    """The five rows."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = build_example("bench_training", "torch")
    ours = Worker(command, threads=None, environment=SPIN)
    rows = [
        steps(ours, "train_step_vs_pytorch", "quick", "vit", 1.2, arguments.rounds),
        steps(ours, "train_step_good_vs_pytorch", "good", "by_hand", 1.1, arguments.rounds),
        warm(ours, arguments.rounds),
        cold(arguments.rounds),
        augment_share(ours, arguments.rounds),
    ]
    ours.close()
    return rows


def start_peer(ours: Worker, jobs: str) -> Worker:
    """A peer with as many threads as ours."""
    peer = Worker([peer_python(), BENCH / "training_peers.py", jobs], threads=None, environment=SPIN)
    ours_threads, peer_threads = (worker.ask(job="threads")["threads"] for worker in (ours, peer))
    if ours_threads != peer_threads:
        raise SystemExit(f"{ours_threads} threads on our side, {peer_threads} on the peer's")
    print(f"  {ours_threads} threads on both sides", flush=True)
    return peer


def steps(ours: Worker, name: str, preset: str, network: str, target: float, rounds: int) -> Row:
    """Training steps over one batch in memory; of the network by hand, two faster variants are shown as well."""
    print(f"{name} ...", flush=True)
    path = str(FOLDER / f"{preset}.safetensors")
    n_ours = ours.ask(job="start", preset=preset, path=path)["parameters"]
    ours_s, peer_s, ratio = alternate_steps(ours, preset, path, network, "eager", n_ours, rounds)
    for variant in ["channels_last", "compiled"] if network == "by_hand" else []:
        try:
            variant_ours_s, variant_s, variant_ratio = alternate_steps(
                ours, preset, path, network, variant, n_ours, rounds
            )
        except (SystemExit, BrokenPipeError) as error:
            print(f"  {variant} failed: {error}", flush=True)
        else:
            figures = f"ours {1e3 * variant_ours_s:.2f}, peer {1e3 * variant_s:.2f} ms/step, ratio {variant_ratio:.2f}"
            print(f"  beside the peer {variant}: {figures}", flush=True)
    return Row(name, 1e3 * ours_s, 1e3 * peer_s, "ms/step", ratio, target)


def alternate_steps(
    ours: Worker, preset: str, path: str, network: str, variant: str, n_ours: int, rounds: int
) -> tuple[float, float, float]:
    """What `alternate` gives, beside one variant of the peer; prints where the time of both goes."""
    peer = start_peer(ours, "steps")
    n_peer = peer.ask(job="start", path=path, network=network, variant=variant)["parameters"]
    if n_ours != n_peer:
        raise SystemExit(f"{preset}: {n_ours} parameters, its peer has {n_peer}")
    parts: dict[str, list[dict[str, float]]] = {"ours": [], variant: []}

    def seconds(side: str, worker: Worker, run: dict[str, str]) -> float:
        answer = worker.ask(job="steps", n_steps=N_STEPS[preset], **run)
        parts[side].append(answer["parts"])
        return answer["seconds"]

    figures = alternate(
        lambda: seconds("ours", ours, {"preset": preset}), lambda: seconds(variant, peer, {"variant": variant}), rounds
    )
    peer.close()
    print(f"  {n_ours:,} parameters on both sides; where the milliseconds of a step go:")
    for side, answers in parts.items():
        medians = {part: 1e3 * statistics.median(answer[part] for answer in answers) for part in answers[0]}
        words = ", ".join(f"{part} {medians[part]:.2f}" for part in ("forward", "backward", "update"))
        print(f"    {side}: {words}", flush=True)
    return figures


def warm(ours: Worker, rounds: int) -> Row:
    """A recording in a process that has classified it before."""
    print("predict_warm_vs_python ...", flush=True)
    checkpoint, (recording,) = make_checkpoint(ours), clips(1)
    job = {"job": "predict", "checkpoint": str(checkpoint), "recording": recording, "times": N_PREDICTIONS}
    peer = start_peer(ours, "predict")
    compare_answers(ours.ask(**job)["top"], peer.ask(**job)["top"])
    ours_s, peer_s, ratio = alternate(lambda: ours.ask(**job)["seconds"], lambda: peer.ask(**job)["seconds"], rounds)
    peer.close()
    return Row("predict_warm_vs_python", 1e3 * ours_s, 1e3 * peer_s, "ms", ratio, 2.5)


def cold(rounds: int) -> Row:
    """A recording in a process of its own that loads the released model, from its start to its end.

    The sides are held against each other on a copy at the network's own rate: near 8 kHz the two resamplers differ, and
    with them the probabilities of noise, by up to 0.02.
    """
    print("predict_cold_vs_python ...", flush=True)
    (recording,) = clips(1)
    ours = [*build_example("predict", "torch"), "--model", RELEASED]
    peer = [peer_python(), BENCH / "training_peers.py"]
    copy = FOLDER / "at_16_khz.wav"
    subprocess.run([*peer, "resample", RELEASED, recording, copy], check=True)
    (_, said), (_, theirs) = answer([*ours, copy]), answer([*peer, "cold", RELEASED, copy])
    compare_answers([(top["label"], top["probability"]) for top in said], theirs)
    ours_s, peer_s, ratio = alternate(
        lambda: answer([*ours, recording])[0], lambda: answer([*peer, "cold", RELEASED, recording])[0], rounds
    )
    return Row("predict_cold_vs_python", 1e3 * ours_s, 1e3 * peer_s, "ms", ratio, 10.0)


def answer(command: list) -> tuple[float, list]:
    """Seconds that a process took from its start to its end, and the most probable classes it named."""
    start = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | SPIN)
    return time.perf_counter() - start, json.loads(done.stdout)["top"]


def make_checkpoint(ours: Worker) -> pathlib.Path:
    """A checkpoint of the quick preset with fresh weights."""
    path = FOLDER / "checkpoint.safetensors"
    ours.ask(job="checkpoint", path=str(path))
    return path


def compare_answers(ours: list, peer: list) -> None:
    """Ends the run when the two sides name other classes or probabilities."""
    alike = all(a[0] == b[0] and abs(a[1] - b[1]) < PROBABILITY_TOLERANCE for a, b in zip(ours, peer, strict=True))
    if not alike:
        raise SystemExit(f"the sides answer differently: ours {ours}, the peer {peer}")


def augment_share(ours: Worker, rounds: int) -> Row:
    """A batch with all its augmentations, beside a tenth of the step that it is for."""
    print("augment_share ...", flush=True)
    ours.ask(job="start", preset="good", path=str(FOLDER / "good.safetensors"))
    batch_s, tenth_s, ratio = alternate(
        lambda: ours.ask(job="batches", folder=str(FOLDER), n_batches=N_BATCHES)["seconds"],
        lambda: ours.ask(job="steps", preset="good", n_steps=N_STEPS["good"])["seconds"] / 10,
        rounds,
    )
    return Row("augment_share", 1e3 * batch_s, 1e3 * tenth_s, "ms", ratio, 1.0)
