#!/usr/bin/env python3
"""Write a small ViT of Hugging Face and its answers for the tests of the model (tests/hugging_face.rs).

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python make_golden.py

vit.safetensors        its weights, as `save_pretrained` names them
gradients.safetensors  the gradients of the mean cross-entropy over the batch, under the same names
batch.safetensors      inputs (4, 1, 24, 40), targets (4) and logits (4, 5)

Each file holds the versions used and the model's configuration in its metadata, as JSON under "made_with". The same versions
on the same kind of processor give the same files: the seed is fixed, and one thread computes.
"""
import copy
import json
import pathlib
import platform
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent
SEED = 50
BATCH_SIZE = 4
CONFIG = {
    "image_size": (24, 40),  # not square: rows and columns cannot be mixed up unnoticed
    "patch_size": 8,
    "num_channels": 1,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_labels": 5,
}


def weights_in_general_position(model: torch.nn.Module) -> None:
    """Replace every parameter, so that none is zero, one, or so small that its place would not show in the logits."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            if parameter.dim() > 1 and name.endswith("weight"):
                fan_in = parameter[0].numel()
                parameter.copy_(1.5 * noise / fan_in**0.5)
            elif "layernorm" in name and name.endswith("weight"):
                parameter.copy_(1.0 + 0.3 * noise)
            else:
                parameter.copy_(0.5 * noise)


def as_saved(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The parameters under the names and in the shapes that `save_pretrained` gives them."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(pathlib.Path(folder) / "model.safetensors")


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**CONFIG)).eval()
    weights_in_general_position(model)
    inputs = torch.randn(BATCH_SIZE, CONFIG["num_channels"], *CONFIG["image_size"])
    targets = torch.randint(CONFIG["num_labels"], (BATCH_SIZE,))

    logits = model(pixel_values=inputs).logits
    torch.nn.functional.cross_entropy(logits, targets).backward()
    gradients = copy.deepcopy(model)
    with torch.no_grad():
        for into, parameter in zip(gradients.parameters(), model.parameters(), strict=True):
            into.copy_(parameter.grad)

    made_with = {
        "config": CONFIG | {name: getattr(model.config, name) for name in ("hidden_act", "layer_norm_eps", "qkv_bias")},
        "seed": SEED,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    batch = {"inputs": inputs, "targets": targets, "logits": logits.detach()}
    for name, tensors in {"vit": as_saved(model), "gradients": as_saved(gradients), "batch": batch}.items():
        save_file(tensors, HERE / f"{name}.safetensors", metadata={"made_with": json.dumps(made_with)})


if __name__ == "__main__":
    main()
