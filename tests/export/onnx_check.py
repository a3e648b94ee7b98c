#!/usr/bin/env python3
"""Hold ONNX files to the ONNX checker, and what ONNX Runtime makes of them to the crate.

    EXPORT_DIR=folder cargo test --test export
    python onnx_check.py folder

Each folder in `folder/onnx` holds `float.onnx` and `int8.onnx`, what they are asked, `inputs.npy`, and what the crate says of it,
`logits.npy` and `embedding.npy`. Networks in 32-bit floats say the same for one input as for all; those in 8-bit numbers, whose
weights are rounded, have to point the same way.
"""
from __future__ import annotations

import json
import pathlib
import sys
import tempfile

import numpy
import onnx
import onnxruntime

TOLERANCE = 1e-4
# Cosine of logits in 8-bit numbers to our own, the mean over inputs that sound like nothing.
INT8_COSINE = 0.99
OPSET = 17


def answers(path: pathlib.Path, inputs: numpy.ndarray) -> dict[str, numpy.ndarray]:
    """What a file says of inputs, by the names of its outputs."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: inputs}), strict=True))


def check_file(path: pathlib.Path) -> None:
    """Every node by its own rules, shapes inferred from end to end, and the entries of metadata."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    if [entry.version for entry in model.opset_import] != [OPSET]:
        raise SystemExit(f"{path}: expected opset {OPSET}, found {model.opset_import}")
    about = {entry.key: entry.value for entry in model.metadata_props}
    n_logits = next(o for o in model.graph.output if o.name == "logits").type.tensor_type.shape.dim[1].dim_value
    if len(json.loads(about["labels"])) != n_logits:
        raise SystemExit(f"{path}: {n_logits} logits, and labels {about['labels']}")
    if not {"audio_transformer", "preprocessor_config"} & about.keys():
        raise SystemExit(f"{path}: metadata without mel settings: {sorted(about)}")


def difference(path: pathlib.Path, inputs: numpy.ndarray, ours: dict[str, numpy.ndarray]) -> float:
    """The largest, for one input and for all."""
    largest = 0.0
    for n in (1, len(inputs)):
        theirs = answers(path, inputs[:n])
        largest = max(largest, *(float(numpy.abs(theirs[name] - values[:n]).max()) for name, values in ours.items()))
    return largest


def cosine(path: pathlib.Path, inputs: numpy.ndarray, logits: numpy.ndarray) -> float:
    theirs = answers(path, inputs)["logits"]
    norms = numpy.linalg.norm(theirs, axis=1) * numpy.linalg.norm(logits, axis=1)
    return float(((theirs * logits).sum(axis=1) / norms).mean())


def run_readme(root: pathlib.Path) -> None:
    """The README's lines for ONNX, on views of noise, in the project's folder but for their input."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    lines = next(block.split("```")[0] for block in readme.split("```python\n")[1:] if "onnxruntime" in block)
    with tempfile.TemporaryDirectory() as folder:
        views = pathlib.Path(folder, "views.npy")
        numpy.save(views, numpy.random.default_rng(0).standard_normal((3, 1, 64, 320), dtype="float32"))
        names = {}
        exec(lines.replace('"views.npy"', repr(str(views))).replace('"data/', f'"{root}/data/'), names)
    shapes = [names[name].shape for name in ("logits", "embedding")]
    if shapes != [(3, 10), (3, 96)]:
        raise SystemExit(f"README.md: its lines for ONNX give {shapes}, expected (3, 10) and (3, 96)")
    print("README.md: its lines for ONNX run", flush=True)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folders, failed = sorted(pathlib.Path(sys.argv[1], "onnx").iterdir()), []
    if not folders:
        raise SystemExit("no network to check")
    for folder in folders:
        inputs = numpy.load(folder / "inputs.npy").astype("float32")
        ours = {name: numpy.load(folder / f"{name}.npy") for name in ("logits", "embedding")}
        for name in ("float", "int8"):
            check_file(folder / f"{name}.onnx")
        largest = difference(folder / "float.onnx", inputs, ours)
        near = cosine(folder / "int8.onnx", inputs, ours["logits"])
        if not (largest <= TOLERANCE and near >= INT8_COSINE):
            failed.append(folder.name)
        print(
            f"{folder.name:16} largest difference {largest:.1e} (limit {TOLERANCE:.0e}), "
            f"in 8 bits a cosine of {near:.4f} (limit {INT8_COSINE})",
            flush=True,
        )
    run_readme(pathlib.Path(__file__).resolve().parents[2])
    if failed:
        raise SystemExit(f"ONNX Runtime's answers are not ours: {', '.join(failed)}")


if __name__ == "__main__":
    main()
