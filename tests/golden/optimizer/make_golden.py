#!/usr/bin/env python3
"""Write the steps of PyTorch's Muon and AdamW for the tests of ours (tests/muon.rs).

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python make_golden.py

muon.safetensors  for each matrix, wide, tall and square, and a vector: `NAME.start`, the gradient `NAME.gradient.STEP` of every step and
                  what it is after them, `NAME.end`

torch.optim.Muon evens out directions in bfloat16, of which two correct implementations may differ by a hundredth. Here it is kept from leaving
single precision, so that they can be held to one in a hundred thousand. The versions used are in the file's metadata, under "made_with".
"""
import json
import pathlib
import platform

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
SEED = 50
N_STEPS = 6
LEARNING_RATE, WEIGHT_DECAY = 0.01, 0.05
SHAPES = {"wide": (12, 40), "tall": (40, 12), "square": (16, 16), "vector": (24,)}

torch.set_num_threads(1)
torch.manual_seed(SEED)
torch.Tensor.bfloat16 = torch.Tensor.clone

tensors = {}
for name, shape in SHAPES.items():
    parameter = torch.nn.Parameter(torch.randn(shape))
    tensors[f"{name}.start"] = parameter.detach().clone()
    if len(shape) == 2:
        optimizer = torch.optim.Muon(
            [parameter], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"
        )
    else:
        optimizer = torch.optim.AdamW([parameter], lr=LEARNING_RATE, weight_decay=0.0)
    for step in range(N_STEPS):
        parameter.grad = torch.randn(shape)
        tensors[f"{name}.gradient.{step}"] = parameter.grad.clone()
        optimizer.step()
    tensors[f"{name}.end"] = parameter.detach().clone()

made_with = {
    "python": platform.python_version(),
    "torch": torch.__version__,
    "n_steps": N_STEPS,
    "learning_rate": LEARNING_RATE,
    "weight_decay": WEIGHT_DECAY,
}
save_file(tensors, HERE / "muon.safetensors", metadata={"made_with": json.dumps(made_with)})
