#!/usr/bin/env python3
"""Run the Python of docs/export.md on exported networks, and hold its logits to those of the crate.

    EXPORT_DIR=folder cargo test --test export --test transfer
    python check.py folder

The folder holds `quick` and `good`, each with `exported/` (what `export` wrote), `inputs.npy` and `logits.npy` (ours). The code is
that of the page, taken as it stands there: it reads `exported` and `inputs.npy` in the working folder, and leaves
`network` and `logits`. The code that makes `inputs.npy` of a recording is held to our probabilities, `probabilities.npy`, for
`recording.wav`. `fine-tuned-ast` and `fine-tuned-ced` are networks as transformers saves them, with what they say of a waveform.
"""
from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import sys
import tempfile

import numpy
import torch
import torchaudio
from safetensors.torch import load_file
from transformers import ASTFeatureExtractor, ASTForAudioClassification, ViTConfig

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

from ced import Ced  # noqa: E402  (found only after the line above)

PAGE = ROOT / "docs" / "export.md"
TOLERANCE = 1e-5
# Of a probability that starts from a recording: librosa's spectrogram stands before the network.
RECORDING_TOLERANCE = 1e-3
# Of logits that start from a waveform.
FINE_TUNED_TOLERANCE = 1e-4
VIEWS = "def views"
CALIBRATE = "calibration ="
# Each snippet by words that only it has, the network it is for, and the files of the export it needs.
SNIPPETS = [
    ("from_pretrained", "quick", ["config.json", "model.safetensors"]),
    ("def network", "good", ["config.json", "model.safetensors"]),
    ("torch.jit.load", "quick", ["model.pt"]),
    ("torch.jit.load", "good", ["model.pt"]),
    ("onnxruntime", "quick", ["model.onnx"]),
    ("onnxruntime", "good", ["model.onnx"]),
]


def snippets() -> list[str]:
    """The Python code of the page."""
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def run(code: str, folder: pathlib.Path, files: list[str], inputs: numpy.ndarray | None) -> dict:
    """Runs a snippet where these files of an export lie and no others; gives the variables it leaves. Without inputs there is a
    recording, `dog.wav`, to make them of."""
    variables: dict = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as place:
        exported = pathlib.Path(place, "exported")
        exported.mkdir()
        for name in files:
            shutil.copyfile(folder / "exported" / name, exported / name)
        if inputs is None:
            shutil.copyfile(folder / "recording.wav", pathlib.Path(place, "dog.wav"))
        else:
            numpy.save(pathlib.Path(place, "inputs.npy"), inputs)
        before = os.getcwd()
        os.chdir(place)
        try:
            exec(compile(code, PAGE.name, "exec"), variables)
        finally:
            os.chdir(before)
    return variables


def difference(logits: torch.Tensor | numpy.ndarray, ours: numpy.ndarray) -> float:
    """The largest, of 32-bit floats in the same shape."""
    logits = torch.as_tensor(logits)
    if logits.dtype != torch.float32 or tuple(logits.shape) != ours.shape:
        raise SystemExit(f"expected float32 logits of shape {ours.shape}, found {logits.dtype} {tuple(logits.shape)}")
    return float(numpy.abs(logits.detach().numpy() - ours).max())


def check_snippet(code: str, folder: pathlib.Path, files: list[str]) -> float:
    """The largest difference between a snippet's logits and ours, for one clip and for all."""
    inputs, ours = numpy.load(folder / "inputs.npy"), numpy.load(folder / "logits.npy")
    largest = 0.0
    for n in (1, len(inputs)):
        variables = run(code, folder, files, inputs[:n])
        largest = max(largest, difference(variables["logits"], ours[:n]))
    network = variables["network"]
    if isinstance(network, torch.jit.ScriptModule):
        # Loaded for a batch of another size, asked to train: it stays what it is.
        for n in range(1, len(inputs) + 1):
            largest = max(largest, difference(network.train()(torch.from_numpy(inputs[:n])), ours[:n]))
    return largest


def check_recording(views: str, network: str, calibrate: str, folder: pathlib.Path, files: list[str]) -> float:
    """The largest difference between a recording's probabilities and ours, by the snippets that make views and judge them."""
    inputs = run(views, folder, [], None)["inputs"]
    probabilities = run(f"{network}\n{calibrate}", folder, files, inputs)["probabilities"]
    return float(numpy.abs(probabilities.detach().numpy() - numpy.load(folder / "probabilities.npy")).max())


def check_files(folder: pathlib.Path) -> None:
    """32-bit floats alone, the labels in their order and as many as logits, and our settings, which transformers keeps."""
    weights = load_file(folder / "exported" / "model.safetensors")
    others = sorted(name for name, tensor in weights.items() if tensor.dtype != torch.float32)
    if others:
        raise SystemExit(f"{folder.name}: no 32-bit floats: {others}")
    config = json.loads((folder / "exported" / "config.json").read_text(encoding="utf-8"))
    labels, ours = config.get("labels"), config["audio_transformer"]
    if config.get("model_type") == "vit":
        read = ViTConfig.from_pretrained(folder / "exported")
        labels = [read.id2label[i] for i in range(read.num_labels)]
        if read.audio_transformer != ours or [read.label2id[label] for label in labels] != list(range(len(labels))):
            raise SystemExit(f"{folder.name}: transformers reads another configuration than config.json tells")
    n_logits = numpy.load(folder / "logits.npy").shape[1]
    if labels != ours["labels"] or len(labels) != n_logits or ours["settings"]["features"]["n_mels"] != 64:
        raise SystemExit(f"{folder.name}: config.json tells {labels} for {n_logits} logits, and {ours['settings']}")


def check_fine_tuned(folder: pathlib.Path, kind: str) -> float:
    """The largest difference between the logits of a network that was fine-tuned here and those of Python, from the waveform."""
    answer = load_file(folder / "answer.safetensors")
    samples, ours = answer["samples"], answer["logits"].numpy()
    if kind == "ast":
        extractor = ASTFeatureExtractor.from_pretrained(folder)
        inputs = extractor(samples.numpy(), sampling_rate=16_000, return_tensors="pt")["input_values"]
        return difference(ASTForAudioClassification.from_pretrained(folder).eval()(inputs).logits, ours)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    network = Ced(config).eval()
    network.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    mel = torchaudio.transforms.MelSpectrogram(16_000, n_fft=512, hop_length=160, n_mels=64, f_max=8000.0)
    return difference(network(torchaudio.transforms.AmplitudeToDB(top_db=120)(mel(samples))[None]), ours)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folder, codes = pathlib.Path(sys.argv[1]).resolve(), snippets()
    for network in ("quick", "good"):
        check_files(folder / network)
    used, failed = set(), False

    def named(words: str) -> str:
        found = [code for code in codes if words in code]
        if len(found) != 1:
            raise SystemExit(f"{PAGE.name}: expected one snippet with {words!r}, found {len(found)}")
        used.add(found[0])
        return found[0]

    for words, network, files in SNIPPETS:
        largest = check_snippet(named(words), folder / network, files)
        failed |= not largest <= TOLERANCE
        print(f"{words:16} {network:6} largest difference of a logit {largest:.1e} (limit {TOLERANCE:.0e})", flush=True)
    words, network, files = next(snippet for snippet in SNIPPETS if snippet[1] == "good")
    largest = check_recording(named(VIEWS), named(words), named(CALIBRATE), folder / network, files)
    failed |= not largest <= RECORDING_TOLERANCE
    print(f"{VIEWS:16} {network:6} largest difference of a probability {largest:.1e} (limit {RECORDING_TOLERANCE:.0e})", flush=True)
    for kind, name in (("ast", "transformers"), ("ced", "PyTorch")):
        largest = check_fine_tuned(folder / f"fine-tuned-{kind}", kind)
        failed |= not largest <= FINE_TUNED_TOLERANCE
        limit = f"(limit {FINE_TUNED_TOLERANCE:.0e})"
        print(f"fine-tuned {kind} in {name}: largest difference of a logit {largest:.1e} {limit}", flush=True)
    if len(used) != len(codes):
        raise SystemExit(f"{PAGE.name}: a snippet is not run here")
    if failed:
        raise SystemExit("Python's answers are not ours")


if __name__ == "__main__":
    main()
