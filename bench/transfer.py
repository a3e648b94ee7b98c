"""Published networks, beside PyTorch and transformers with the same weights and threads.

| row | ours | peer |
|---|---|---|
| `ced_tiny_predict_vs_python` | a WAV to 527 probabilities, warm, ced-tiny's size | soundfile, torchaudio and the network in eager PyTorch |
| `ast_predict_vs_python` | decoded audio to 527 probabilities, AST's full size | transformers |
| `ast_features_vs_numpy`, `..._torchaudio` | decoded audio to features | ASTFeatureExtractor by either of its paths |
| `ced_finetune_step_vs_pytorch` | a training step of ced-tiny's size, batch 16 | eager PyTorch |
| `load_memory` | peak memory with all weights of AST read, less that of libtorch alone | 1.2 times the file |
| `embed_esc10_s` | recordings to embeddings, ced-tiny's size, all cores | torchaudio and eager PyTorch |

Weights are random: speed does not depend on what a network knows. Both sides are checked to answer alike.
"""
from __future__ import annotations

import argparse
import pathlib
import subprocess

from front_end import clips
from harness import BENCH, WORK, Row, Worker, alternate, build_example, peer_python

FOLDER = WORK / "transfer"
SPIN = {"GOMP_SPINCOUNT": "10000"}
N_PREDICTIONS = {"ced": 10, "ast": 1}
N_FEATURES = 10
N_STEPS = 4
TOLERANCE = 1e-3


def measure(arguments: argparse.Namespace) -> list[Row]:
    """The rows, each with its check."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    peer_command = [peer_python(), BENCH / "transfer_peers.py"]
    subprocess.run([*peer_command, "make", FOLDER], check=True)
    command = build_example("bench_transfer", "torch,download")
    ours = Worker(command, threads=None, environment=SPIN)
    peer = Worker([*peer_command, "serve", FOLDER], threads=None, environment=SPIN)
    threads = [worker.ask(job="threads")["threads"] for worker in (ours, peer)]
    if threads[0] != threads[1]:
        raise SystemExit(f"threads: ours {threads[0]}, peer {threads[1]}")
    print(f"  {threads[0]} threads on both sides", flush=True)
    (recording,) = clips(1)
    # Near 8 kHz the two resamplers differ, and with them the highest bands: the sides are held against each other at 16 kHz.
    copy = str(FOLDER / "at_16_khz.wav")
    peer.ask(job="copy", recording=recording, path=copy)
    rounds = arguments.rounds

    def sides(**job) -> tuple[float, float, float]:
        return alternate(lambda: ours.ask(**job)["seconds"], lambda: peer.ask(**job)["seconds"], rounds)

    rows = []
    for network, name, target, decoded in (
        ("ced", "ced_tiny_predict_vs_python", 1.5, False),
        ("ast", "ast_predict_vs_python", 1.1, True),
    ):
        print(f"{name} ...", flush=True)
        job = {
            "job": "predict",
            "folder": str(FOLDER / network),
            "recording": recording,
            "decoded": decoded,
            "times": N_PREDICTIONS[network],
        }
        check = job | {"recording": copy, "times": 1}
        compare(ours.ask(**check)["first"], peer.ask(**check)["first"])
        ours_s, peer_s, ratio = sides(**job)
        rows.append(Row(name, 1e3 * ours_s, 1e3 * peer_s, "ms", ratio, target))
    for path, target in (("numpy", 10.0), ("torchaudio", 2.0)):
        print(f"ast_features_vs_{path} ...", flush=True)
        job = {"job": "features", "recording": copy, "path": path, "times": N_FEATURES}
        compare(ours.ask(**job)["first"], peer.ask(**job)["first"])
        ours_s, peer_s, ratio = sides(**job)
        rows.append(Row(f"ast_features_vs_{path}", 1e3 * ours_s, 1e3 * peer_s, "ms", ratio, target))
    print("ced_finetune_step_vs_pytorch ...", flush=True)
    job = {"job": "steps", "folder": str(FOLDER / "ced"), "n_steps": N_STEPS}
    ours_s, peer_s, ratio = sides(**job)
    rows.append(Row("ced_finetune_step_vs_pytorch", 1e3 * ours_s, 1e3 * peer_s, "ms/step", ratio, 1.1))
    print("embed_esc10_s ...", flush=True)
    recordings = [str(path) for path in clips(arguments.clips)]
    job = {"job": "embed", "folder": str(FOLDER / "ced"), "recordings": recordings}
    ours_s, peer_s, ratio = sides(**job)
    scale = 400 / len(recordings)
    rows.append(Row("embed_esc10_s", scale * ours_s, scale * peer_s, "s/400", ratio, 1.3))
    ours.close()
    peer.close()
    rows.append(load_memory(command, copy))
    return rows


def load_memory(command: list[str], recording: str) -> Row:
    """The peak of a process that reads all weights of the full AST, less that of libtorch alone."""
    print("load_memory ...", flush=True)
    worker = Worker(command, threads=None, environment=SPIN)
    peaks = worker.ask(job="memory", folder=str(FOLDER / "ast"), recording=recording)
    worker.close()
    file = (FOLDER / "ast" / "model.safetensors").stat().st_size
    loaded, heard = peaks["loaded"] - peaks["alone"], peaks["heard"] - peaks["alone"]
    print(f"  a file of {file / 1e6:.0f} MB: {loaded / 1e6:.0f} MB once it is read, {heard / 1e6:.0f} MB once a clip was heard")
    return Row("load_memory", loaded / 1e6, 1.2 * file / 1e6, "MB", 1.2 * file / loaded, 1.0)


def compare(ours: list[float], theirs: list[float]) -> None:
    """Ends the run where the two sides do not answer alike."""
    largest = max(abs(own - their) for own, their in zip(ours, theirs, strict=True))
    if largest > TOLERANCE:
        raise SystemExit(f"the sides differ by {largest}")
    print(f"  the sides differ by {largest:.1e} at most", flush=True)
