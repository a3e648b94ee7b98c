"""A recording of any length as one would classify it in Python: `long_peer.py RECORDING MODEL.pt`.

librosa reads it in blocks of five seconds, which become log-mel views as docs/export.md has them; the released network as TorchScript hears eight blocks
at a time. Prints the mean probabilities as JSON.
"""
from __future__ import annotations

import json
import sys

import librosa
import numpy
import torch

RATE, CLIP_S, N_FRAMES, N_VIEWS, BATCH = 16_000, 5, 320, 5, 8


def views(sound: numpy.ndarray) -> numpy.ndarray:
    def decibels(power: numpy.ndarray) -> numpy.ndarray:
        return librosa.power_to_db(power, ref=numpy.max, top_db=80)

    mels = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=1024, hop_length=256, n_mels=64, pad_mode="constant")
    power = librosa.db_to_power(decibels(mels))
    sounding = numpy.flatnonzero((power > 1e-6).any(axis=0))
    low, high = sorted((sounding[0], sounding[-1] + 1 - N_FRAMES))
    padded = numpy.pad(power, ((0, 0), (N_FRAMES, N_FRAMES)))
    starts = [round(low + (high - low) * (view + 0.5) / N_VIEWS) + N_FRAMES for view in range(N_VIEWS)]
    windows = numpy.stack([decibels(padded[:, start : start + N_FRAMES]) for start in starts])
    windows -= windows.mean(axis=(1, 2), keepdims=True)
    return (windows / (windows.std(axis=(1, 2), keepdims=True) + 1e-6))[:, None].astype("float32")


def main() -> None:
    network = torch.jit.load(sys.argv[2]).eval()
    probabilities: list[numpy.ndarray] = []
    batch: list[numpy.ndarray] = []

    def ask() -> None:
        with torch.inference_mode():
            logits = network(torch.from_numpy(numpy.concatenate(batch)))
        probabilities.extend(logits.softmax(1).reshape(len(batch), N_VIEWS, -1).mean(1).numpy())
        batch.clear()

    for block in librosa.stream(sys.argv[1], block_length=1, frame_length=CLIP_S * RATE, hop_length=CLIP_S * RATE):
        batch.append(views(librosa.util.fix_length(block, size=CLIP_S * RATE)))
        if len(batch) == BATCH:
            ask()
    if batch:
        ask()
    print(json.dumps(numpy.mean(probabilities, axis=0).tolist()))


if __name__ == "__main__":
    main()
