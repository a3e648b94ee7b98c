"""The peers' side of the training stage: `python bench/training_peers.py steps|predict`, jobs and answers by lines.

As `python bench/training_peers.py cold CHECKPOINT RECORDING` it classifies one recording and ends; as
`… resample CHECKPOINT RECORDING COPY` it writes a copy of one at the checkpoint's rate.
"""
from __future__ import annotations

import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

import tiny_ast

TOP = 5
DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
# The same network on the same batch: the logits may differ by the order of sums.
LOGITS_TOLERANCE = 1e-4 if DEVICE == "cpu" else 1e-3


def check(claim: bool, words: str) -> None:
    """Ends the process when the two sides do not do the same work."""
    if not claim:
        raise SystemExit(f"the sides differ: {words}")


def vit(config: dict, weights: dict[str, Tensor]) -> torch.nn.Module:
    """Hugging Face's ViT of the shape of a network with plain patches and a class token, with its weights."""
    from transformers import ViTConfig, ViTForImageClassification

    patches = config["stem"]["Patches"]
    check(patches["stride"] == patches["patch_size"] and config["pooling"] == "ClassToken", "no plain ViT")
    dim = config["embed_dim"]
    model = ViTForImageClassification(
        ViTConfig(
            image_size=tuple(config["input_size"]),
            patch_size=patches["patch_size"],
            num_channels=1,
            hidden_size=dim,
            num_hidden_layers=config["depth"],
            num_attention_heads=config["num_heads"],
            intermediate_size=dim * config["mlp_ratio"],
            hidden_dropout_prob=config["dropout"],
            attention_probs_dropout_prob=config["dropout"],
            num_labels=weights["head.bias"].shape[0],
            attn_implementation="sdpa",
        )
    )
    names = {
        "patch_embed.": "vit.embeddings.patch_embeddings.projection.",
        "cls_token": "vit.embeddings.cls_token",
        "pos_embed": "vit.embeddings.position_embeddings",
        "norm.": "vit.layernorm.",
        "head.": "classifier.",
    }
    theirs = {}
    for name, values in weights.items():
        if name.startswith("blocks."):
            name = name.replace("blocks.", "vit.layers.").replace("attention.proj.", "attention.o_proj.")
            name = name.replace(".norm1.", ".layernorm_before.").replace(".norm2.", ".layernorm_after.")
            if ".qkv." in name:
                for part, rows in zip("qkv", values.chunk(3)):
                    theirs[name.replace(".qkv.", f".{part}_proj.")] = rows
                continue
        else:
            prefix = next(prefix for prefix in names if name.startswith(prefix))
            name = names[prefix] + name.removeprefix(prefix)
        theirs[name] = values
    model.load_state_dict(theirs)
    return model


class Run:
    """A network, its optimiser and the batch of a file that our side wrote."""

    def __init__(self, path: str, network: str, variant: str) -> None:
        self.info, weights = tiny_ast.read(path)
        inputs, targets, logits = (weights.pop(name).to(DEVICE) for name in ("inputs", "targets", "logits"))
        if network == "vit":
            model = vit(self.info["model"], weights)
            self.forward: Callable[[Tensor], Tensor] = lambda inputs: model(pixel_values=inputs).logits
        else:
            model = tiny_ast.TinyAst(self.info["model"], targets.shape[1])
            model.load(weights)
            if variant == "channels_last":
                model.to(memory_format=torch.channels_last)
            self.forward = torch.compile(model) if variant == "compiled" else model
        model.eval().to(DEVICE)
        with torch.no_grad():
            difference = (self.forward(inputs) - logits).abs().max().item()
        check(difference < LOGITS_TOLERANCE, f"logits by {difference}")
        model.train()
        train = self.info["train"]
        self.max_norm, self.smoothing = train["max_grad_norm"], train["label_smoothing"]
        self.decay = train["ema_decay"]
        self.inputs = inputs
        # Where every clip has one class, its number spares work.
        whole = bool((targets.amax(1) == 1.0).all())
        self.targets = targets.argmax(1) if whole else targets
        self.parameters = list(model.parameters())
        matrices = [p for name, p in model.named_parameters() if p.ndim > 1 and name.endswith("weight")]
        others = [p for name, p in model.named_parameters() if not (p.ndim > 1 and name.endswith("weight"))]
        rate, weight_decay = train["learning_rate"], train["weight_decay"]
        # The fused optimisers are the faster ones: 3.9 ms a step of the good preset, where foreach takes 5.9.
        if weight_decay > 0.0:
            groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
            self.optimizer = torch.optim.AdamW(groups, lr=rate, fused=True)
        else:
            self.optimizer = torch.optim.Adam(self.parameters, lr=rate, fused=True)
        self.averaged = [*self.parameters, *(b for b in model.buffers() if b.is_floating_point())]
        self.average = [tensor.detach().clone() for tensor in self.averaged]
        self.step_number = 0

    def step(self) -> dict[str, float]:
        """A training step; seconds it took, whole and by parts."""
        start = time.perf_counter()
        loss = F.cross_entropy(self.forward(self.inputs), self.targets, label_smoothing=self.smoothing)
        forward = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        backward = time.perf_counter()
        if self.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm, foreach=True)
        self.optimizer.step()
        self.step_number += 1
        if self.decay > 0.0:
            decay = min(self.decay, (1 + self.step_number) / (10 + self.step_number))
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.averaged, 1.0 - decay)
        check(loss.item() < float("inf"), "the loss is no number")
        end = time.perf_counter()
        return {
            "step": end - start,
            "forward": forward - start,
            "backward": backward - forward,
            "update": end - backward,
        }


def steps_jobs() -> dict:
    runs: dict[str, Run] = {}

    def start(path: str, network: str, variant: str) -> dict:
        runs[variant] = Run(path, network, variant)
        return {"parameters": sum(p.numel() for p in runs[variant].parameters)}

    def steps(variant: str, n_steps: int) -> dict:
        taken = [runs[variant].step() for _ in range(n_steps)]
        medians = {part: statistics.median(step[part] for step in taken) for part in taken[0]}
        return {"seconds": medians.pop("step"), "parts": medians}

    return {"start": start, "steps": steps}


class Classifier:
    """A checkpoint of ours, and what turns a recording into what its network takes."""

    def __init__(self, path: str, network: str) -> None:
        info, weights = tiny_ast.read(path)
        self.labels, self.features = info["labels"], info["settings"]["features"]
        self.temperature = (info.get("calibration") or {"temperature": 1.0})["temperature"]
        self.input_size, self.view = info["model"]["input_size"], info["model"]["view"]
        weights = {name: values.float() for name, values in weights.items()}
        self.n_samples = round(info["settings"]["clip"]["duration_s"] * self.features["sample_rate"])
        if network == "vit":
            model = vit(info["model"], weights)
            self.forward: Callable[[Tensor], Tensor] = lambda inputs: model(pixel_values=inputs).logits
        else:
            model = self.forward = tiny_ast.TinyAst(info["model"], len(self.labels))
            model.load(weights)
        model.eval()

    @torch.inference_mode()
    def predict(self, recording: str) -> list[tuple[str, float]]:
        """The most probable classes of a recording as long as a clip."""
        import librosa
        import numpy as np

        features = self.features
        samples, _ = librosa.load(recording, sr=features["sample_rate"])
        check(samples.size == self.n_samples, f"a recording of {samples.size} samples is no clip of {self.n_samples}")
        mel = librosa.feature.melspectrogram(
            y=samples,
            sr=features["sample_rate"],
            n_fft=features["n_fft"],
            hop_length=features["hop_length"],
            n_mels=features["n_mels"],
        )
        inputs = torch.from_numpy(np.stack([self.normalized(view) for view in self.views(mel)]))[:, None]
        if self.view == "Whole":
            inputs = F.interpolate(inputs, self.input_size, mode="bilinear", antialias=True)
        mean = self.forward(inputs).softmax(-1).mean(0)
        tempered = mean ** (1 / self.temperature)
        top = (tempered / tempered.sum()).topk(TOP)
        return [(self.labels[i], p) for p, i in zip(top.values.tolist(), top.indices.tolist())]

    def normalized(self, mel):
        """Mel powers in decibels below their own maximum, with mean 0 and deviation 1."""
        import librosa
        import numpy as np

        log_mel = librosa.power_to_db(mel, ref=np.max, top_db=self.features["top_db"])
        return (log_mel - log_mel.mean()) / (log_mel.std() + 1e-6)

    def views(self, mel):
        """The parts of a clip whose predictions are averaged: the whole, or windows spread over where it sounds (to -60 dB)."""
        import librosa
        import numpy as np

        if self.view == "Whole":
            return [mel]
        power = 10.0 ** (librosa.power_to_db(mel, ref=np.max, top_db=self.features["top_db"]) / 10.0)
        n_frames, n_views = self.input_size[1], self.view["Windows"]["n_views"]
        sounding = np.flatnonzero((power > 1e-6).any(0))
        first, behind = (sounding[0], sounding[-1] + 1) if sounding.size else (0, power.shape[1])
        low, high = sorted((int(first), int(behind) - n_frames))
        views = []
        for view in range(n_views):
            start = low + (high - low) * (view + 0.5) / n_views
            start = int(np.copysign(np.floor(abs(start) + 0.5), start))
            window = np.zeros((power.shape[0], n_frames), np.float32)
            begin, end = max(start, 0), min(start + n_frames, power.shape[1])
            window[:, begin - start : end - start] = power[:, begin:end]
            views.append(window)
        return views


def predict_jobs() -> dict:
    loaded: dict[str, Classifier] = {}

    def predict(checkpoint: str, recording: str, times: int) -> dict:
        if checkpoint not in loaded:
            loaded[checkpoint] = Classifier(checkpoint, "vit")
        seconds, top = [], []
        for _ in range(times):
            start = time.perf_counter()
            top = loaded[checkpoint].predict(recording)
            seconds.append(time.perf_counter() - start)
        return {"seconds": statistics.median(seconds), "top": top}

    return {"predict": predict}


def main() -> None:
    if sys.argv[1] == "cold":
        # The network by hand: importing transformers takes longer than all the rest.
        print(json.dumps({"top": Classifier(sys.argv[2], "by_hand").predict(sys.argv[3])}))
        return
    if sys.argv[1] == "resample":
        import librosa
        import soundfile

        info, _ = tiny_ast.read(sys.argv[2])
        samples, rate = librosa.load(sys.argv[3], sr=info["settings"]["features"]["sample_rate"])
        soundfile.write(sys.argv[4], samples, rate, subtype="FLOAT")
        return
    jobs = {"steps": steps_jobs, "predict": predict_jobs}[sys.argv[1]]()
    jobs["threads"] = lambda: {"threads": torch.get_num_threads()}
    for line in sys.stdin:
        settings = json.loads(line)
        print(json.dumps(jobs[settings.pop("job")](**settings)), flush=True)


if __name__ == "__main__":
    main()
