"""Sound file → log-mel `.npy`, beside librosa and torchaudio; where our time goes, and what the limit is."""
from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess

from harness import BENCH, WORK, Row, Worker, alternate, build_example, clear, peer_python

STEPS = ["decode", "resample", "stft", "mel", "decibels", "normalise", "write"]


def clips(n_clips: int) -> list[str]:
    """Paths of the clips, made when there are too few."""
    folder = WORK / ("clips_esc10" if os.environ.get("ESC10_DIR") else "clips_synthesised")
    if len(list(folder.glob("*.wav"))) < n_clips:
        print(f"making {n_clips} clips in {folder} ...", flush=True)
        subprocess.run([peer_python(), BENCH / "clips.py", folder, str(n_clips)], check=True)
    return [str(path) for path in sorted(folder.glob("*.wav"))[:n_clips]]


def measure(arguments: argparse.Namespace) -> list[Row]:
    """The four rows of the front end on one thread."""
    peers = {name: Worker([peer_python(), BENCH / "peers.py", name]) for name in ("librosa", "torchaudio", "soxr")}
    ours = Worker(build_example("bench_front_end"))
    sounds = clips(arguments.clips)
    folders = {name: WORK / "features" / name for name in ("ours", "librosa", "torchaudio")}

    def row(name: str, peer: str, job: str, target: float, writes: bool = False) -> Row:
        def seconds(worker: Worker, folder: str) -> float:
            out = {"out": str(folders[folder])} if writes else {}
            if writes:
                clear(folders[folder])
            return worker.ask(job=job, clips=sounds, **out)["seconds"]

        print(f"{name} ...", flush=True)
        ours_s, peer_s, ratio = alternate(
            lambda: seconds(ours, "ours"), lambda: seconds(peers[peer], peer), arguments.rounds
        )
        return Row(name, 1e3 * ours_s, 1e3 * peer_s, "ms/clip", ratio, target)

    rows = [
        row("features_vs_librosa", "librosa", "features", 4.0, writes=True),
        row("features_vs_torchaudio", "torchaudio", "features", 3.5, writes=True),
        row("mel_vs_torchaudio", "torchaudio", "mel", 3.0),
        row("resample_vs_soxr", "soxr", "resample", 1.5),
    ]
    show_steps(ours, sounds, folders["ours"], arguments.rounds)
    for worker in (ours, *peers.values()):
        worker.close()
    return rows


def show_steps(ours: Worker, sounds: list[str], out: pathlib.Path, rounds: int) -> None:
    """Prints where our time goes, and what the bytes and the transforms alone take."""
    answers = []
    for _ in range(rounds):
        clear(out)
        answers.append(ours.ask(job="steps", clips=sounds, out=str(out)))
    medians = {name: statistics.median(answer["seconds"][name] for answer in answers) for name in answers[0]["seconds"]}
    medians["mel"] = medians["stft_mel"] - medians["stft"]
    total = sum(medians[step] for step in STEPS)
    limits = answers[-1]["limit"]
    print(f"\n| {'step':9} | ms/clip |  share | limit, ms | what sets it")
    print(f"|{'-' * 11}|{'-' * 9}|{'-' * 8}|{'-' * 11}|{'-' * 50}")
    for step in STEPS:
        limit_ms = f"{1e3 * medians['limit_' + step]:9.3f}" if step in limits else f"{'':9}"
        share = 100 * medians[step] / total
        print(f"| {step:9} | {1e3 * medians[step]:7.3f} | {share:5.1f}% | {limit_ms} | {limits.get(step, '')}")
    print(f"| {'total':9} | {1e3 * total:7.3f} |        | {1e3 * sum(medians['limit_' + step] for step in limits):9.3f} |")


def resample_quality(_arguments: argparse.Namespace) -> list[Row]:
    """Prints our resampler's figures and soxr_hq's side by side; no row, because none of it is a speed."""
    command = [peer_python(), BENCH / "resample_quality.py", *build_example("bench_front_end")]
    subprocess.run(command, check=True)
    return []
