#!/usr/bin/env python3
"""Write a small Audio Spectrogram Transformer of Hugging Face and its answers for tests/ast.rs.

    python3 -m venv venv && venv/bin/pip install -r ../../../bench/requirements.txt
    venv/bin/python make_golden.py             # the files here
    venv/bin/python make_golden.py --full DIR  # one of 768 x 12 as well, for the test that is run on request

small/            the network, as `save_pretrained` writes it, weights in general position
small.npz         for the dog: features, hidden states before and behind every layer, the pooled state, logits; a loss
                  and gradients of the loss, under the parameters' names
features_*.npz    features of the waveforms beside, in `torchaudio` as with torchaudio installed, in `numpy` as without

The same versions on the same kind of processor give the same files: the seed is fixed, and one thread computes.
"""
import copy
import pathlib
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification
from transformers.models.audio_spectrogram_transformer import feature_extraction_audio_spectrogram_transformer as ast

HERE = pathlib.Path(__file__).resolve().parent
CED = HERE.parent / "ced"
SEED = 50
SAMPLE_RATE = 16_000
#: Rows, columns, strides and lengths that differ, so that none can be mixed up unnoticed.
SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "patch_size": 16,
    "frequency_stride": 10,
    "time_stride": 12,
    "max_length": 128,
    "num_mel_bins": 64,
    "num_labels": 7,
}
#: Seconds of the recordings whose features are written.
LENGTHS_S = {
    "chirp_0_3s": ("chirp_2_3s", 0.3),
    "dog_5s": ("dog_5s", 5.0),
    "surf_10s": ("surf_10s", 10.0),
    "chirp_12s": ("chirp_12_5s", 12.0),
}
GRADIENTS = (
    "embeddings.cls_token",
    "embeddings.distillation_token",
    "embeddings.position_embeddings",
    "embeddings.patch_embeddings.projection.weight",
    "encoder.layer.0.attention.attention.query.weight",
    "encoder.layer.1.attention.attention.key.weight",
    "encoder.layer.2.attention.attention.value.bias",
    "encoder.layer.2.output.dense.weight",
    "layernorm.weight",
)
HEAD_GRADIENTS = ("classifier.layernorm.weight", "classifier.dense.weight")


def weights_in_general_position(model: torch.nn.Module) -> None:
    """Replace every parameter, so that none is zero, one, or so small that its place would not show in the logits."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            if parameter.dim() > 1 and name.endswith("weight"):
                parameter.copy_(1.2 * noise / parameter[0].numel() ** 0.5)
            elif "layernorm" in name and name.endswith("weight"):
                parameter.copy_(1.0 + 0.3 * noise)
            else:
                parameter.copy_(0.3 * noise)


def wave(name: str, seconds: float | None = None) -> np.ndarray:
    samples = np.load(CED / f"wave_{name}.npy")
    return samples if seconds is None else samples[: round(seconds * SAMPLE_RATE)]


def features(samples: np.ndarray, with_torchaudio: bool, **settings: int) -> np.ndarray:
    """Features of a recording by either of the extractor's two paths, before it is padded to 12 s where that is longer."""
    there = ast.is_speech_available
    ast.is_speech_available = lambda: with_torchaudio
    try:
        extractor = ASTFeatureExtractor(**settings)
        return np.asarray(extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="np")["input_values"][0])
    finally:
        ast.is_speech_available = there


def gradients_as_saved(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The gradients under the names that `save_pretrained` gives to the parameters."""
    carrier = copy.deepcopy(model)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        for own, parameter in zip(carrier.parameters(), model.parameters(), strict=True):
            own.copy_(parameter.grad)
        carrier.save_pretrained(folder)
        return load_file(pathlib.Path(folder) / "model.safetensors")


def answers(model: ASTForAudioClassification, inputs: torch.Tensor) -> dict[str, np.ndarray]:
    with torch.no_grad():
        body = model.audio_spectrogram_transformer(inputs, output_hidden_states=True)
        logits = model(inputs).logits
    found = {"features": inputs, "pooled": body.pooler_output, "logits": logits}
    found |= {f"hidden.{i}": state for i, state in enumerate(body.hidden_states)}
    return {name: value.numpy() for name, value in found.items()}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    model = ASTForAudioClassification(ASTConfig(**SMALL)).eval()
    weights_in_general_position(model)
    model.save_pretrained(HERE / "small")
    sizes = {"num_mel_bins": SMALL["num_mel_bins"], "max_length": SMALL["max_length"]}
    ASTFeatureExtractor(**sizes).save_pretrained(HERE / "small")
    inputs = torch.from_numpy(features(wave("dog_5s"), True, **sizes))[None]
    found = answers(model, inputs)
    loss = model(inputs, labels=torch.tensor([3])).loss
    loss.backward()
    found["loss"] = loss.detach().numpy()
    gradients = gradients_as_saved(model)
    for name in (*(f"audio_spectrogram_transformer.{name}" for name in GRADIENTS), *HEAD_GRADIENTS):
        found[f"gradient.{name}"] = gradients[name].numpy()
    np.savez_compressed(HERE / "small.npz", **found)

    for name, (source, seconds) in LENGTHS_S.items():
        samples = wave(source, seconds)
        # Half precision would hide differences; a frame in four tells them as well as all.
        both = {path: features(samples, path == "torchaudio")[::4] for path in ("torchaudio", "numpy")}
        np.savez_compressed(HERE / f"features_{name}.npz", **both)

    if sys.argv[1:2] == ["--full"]:
        folder = pathlib.Path(sys.argv[2])
        model = ASTForAudioClassification(ASTConfig(num_labels=527)).eval()
        weights_in_general_position(model)
        model.save_pretrained(folder / "full")
        ASTFeatureExtractor().save_pretrained(folder / "full")
        inputs = torch.from_numpy(features(wave("surf_10s"), True))[None]
        np.savez(folder / "full.npz", **answers(model, inputs))


if __name__ == "__main__":
    main()
