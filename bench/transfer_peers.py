#!/usr/bin/env python3
"""The peers of bench/transfer.py: `make FOLDER` writes both networks, `serve FOLDER` answers jobs as lines of JSON."""
from __future__ import annotations

import json
import pathlib
import sys
import time

import numpy as np
import soundfile
import soxr
import torch
import torchaudio
from ced import TINY, Ced
from safetensors.torch import load_file, save_file
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification
from transformers.models.audio_spectrogram_transformer import feature_extraction_audio_spectrogram_transformer as ast

SAMPLE_RATE = 16_000
BATCH_SIZE = 16
SEED = 0


def make(folder: pathlib.Path) -> None:
    """Both networks with random weights, as transformers saves them."""
    torch.manual_seed(SEED)
    ced, where = Ced(TINY), folder / "ced"
    if not (where / "model.safetensors").exists():
        where.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            ced.encoder.init_bn.running_mean.fill_(-30.0)
            ced.encoder.init_bn.running_var.fill_(250.0)
        (where / "config.json").write_text(json.dumps({"model_type": "ced", **TINY}))
        save_file(ced.state_dict(), where / "model.safetensors", {"format": "pt"})
    where = folder / "ast"
    if not (where / "model.safetensors").exists():
        ASTForAudioClassification(ASTConfig(num_labels=527)).save_pretrained(where)
        ASTFeatureExtractor().save_pretrained(where)


class Peer:
    """The networks, and recordings that were decoded."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.ced = Ced(TINY).eval()
        self.ced.load_state_dict(load_file(folder / "ced" / "model.safetensors"))
        self.ast = ASTForAudioClassification.from_pretrained(folder / "ast").eval()
        self.extractor = ASTFeatureExtractor.from_pretrained(folder / "ast")
        self.mel = torchaudio.transforms.MelSpectrogram(SAMPLE_RATE, n_fft=512, hop_length=160, n_mels=64, f_max=8000.0)
        self.to_db = torchaudio.transforms.AmplitudeToDB(top_db=120)
        self.decoded: dict[str, np.ndarray] = {}
        self.training: tuple | None = None

    def read(self, recording: str) -> np.ndarray:
        samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
        if rate == SAMPLE_RATE:
            return samples.mean(1)
        return soxr.resample(samples.mean(1), rate, SAMPLE_RATE, "HQ").astype(np.float32)

    def copy(self, recording: str, path: str) -> dict:
        soundfile.write(path, self.read(recording), SAMPLE_RATE, subtype="FLOAT")
        return {}

    def ced_features(self, recording: str) -> torch.Tensor:
        return self.to_db(self.mel(torch.from_numpy(self.read(recording))))[None]

    def predict(self, folder: str, recording: str, decoded: bool, times: int) -> dict:
        samples = self.decoded.setdefault(recording, self.read(recording)) if decoded else None
        started = time.perf_counter()
        for _ in range(times):
            with torch.inference_mode():
                if samples is None:
                    probabilities = self.ced(self.ced_features(recording)).sigmoid()
                else:
                    inputs = self.extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")["input_values"]
                    probabilities = self.ast(inputs).logits.sigmoid()
        seconds = (time.perf_counter() - started) / times
        return {"seconds": seconds, "first": probabilities[0].tolist()}

    def features(self, recording: str, path: str, times: int) -> dict:
        samples = self.decoded.setdefault(recording, self.read(recording))
        ast.is_speech_available = lambda: path == "torchaudio"
        extractor = ASTFeatureExtractor()
        started = time.perf_counter()
        for _ in range(times):
            features = extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="np")["input_values"]
        seconds = (time.perf_counter() - started) / times
        ast.is_speech_available = lambda: True
        return {"seconds": seconds, "first": features[0, ::8].flatten().tolist()}

    def steps(self, n_steps: int, **_: object) -> dict:
        if self.training is None:
            model = Ced(TINY).train()
            model.load_state_dict(self.ced.state_dict())
            # The statistics of AudioSet are kept, on either side.
            model.encoder.init_bn.eval()
            inputs = torch.sin(torch.arange(BATCH_SIZE * 64 * 501) * 0.37).view(BATCH_SIZE, 64, 501) * 20 - 30
            targets = torch.zeros(BATCH_SIZE, 527)
            targets[torch.arange(BATCH_SIZE), torch.arange(BATCH_SIZE)] = 1
            self.training = model, torch.optim.AdamW(model.parameters(), lr=1e-5), inputs, targets
        model, optimizer, inputs, targets = self.training
        started = time.perf_counter()
        for _ in range(n_steps):
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(inputs), targets)
            loss.backward()
            optimizer.step()
            loss.item()
        return {"seconds": (time.perf_counter() - started) / n_steps}

    def embed(self, recordings: list[str], **_: object) -> dict:
        started = time.perf_counter()
        with torch.inference_mode():
            for recording in recordings:
                self.ced.outputlayer[0](self.ced.encoder(self.ced_features(recording)).mean(1)).numpy()
        return {"seconds": time.perf_counter() - started}


def main() -> None:
    command, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    if command == "make":
        return make(folder)
    peer = Peer(folder)
    for line in sys.stdin:
        job = json.loads(line)
        kind = job.pop("job")
        answer = {"threads": torch.get_num_threads()} if kind == "threads" else getattr(peer, kind)(**job)
        print(json.dumps(answer), flush=True)
    return None


if __name__ == "__main__":
    main()
