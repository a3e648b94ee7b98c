"""The network of our crate in eager PyTorch, written by hand from the description in a file of its weights.

Names and order of the layers are ours (src/model/tiny_ast), so that a file of one side loads on the other.
"""
from __future__ import annotations

import json
import pathlib

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

INFO_KEY = "audio_transformer"


def read(path: str | pathlib.Path) -> tuple[dict, dict[str, Tensor]]:
    """The description of a file and the network's tensors; what else lies there tells what is like the recordings it knows."""
    with safetensors.safe_open(path, "pt") as file:
        names = [name for name in file.keys() if not name.startswith("familiarity.")]
        return json.loads(file.metadata()[INFO_KEY]), {name: file.get_tensor(name) for name in names}


class Attention(nn.Module):
    def __init__(self, config: dict) -> None:
        super().__init__()
        dim = config["embed_dim"]
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.num_heads = config["num_heads"]
        self.dropout = config["dropout"]

    def forward(self, tokens: Tensor) -> Tensor:
        batch, n_tokens, dim = tokens.shape
        heads = self.qkv(tokens).view(batch, n_tokens, 3, self.num_heads, dim // self.num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, T, D / heads) each
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.proj(mixed.transpose(1, 2).reshape(batch, n_tokens, dim))


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    def __init__(self, config: dict, skipped: float) -> None:
        super().__init__()
        dim = config["embed_dim"]
        self.norm1 = nn.LayerNorm(dim, eps=1e-12)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(dim, eps=1e-12)
        self.mlp = Mlp(dim, dim * config["mlp_ratio"])
        self.dropout = config["dropout"]
        self.skipped = skipped

    def branch(self, tokens: Tensor) -> Tensor:
        """A branch's tokens, zero for some clips while training and for the others as much more."""
        if self.dropout > 0.0:
            tokens = F.dropout(tokens, self.dropout, self.training)
        if not self.training or self.skipped == 0.0:
            return tokens
        kept = 1.0 - self.skipped
        return tokens * tokens.new_empty(tokens.shape[0], 1, 1).bernoulli_(kept).div_(kept)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.branch(self.attention(self.norm1(tokens)))
        return tokens + self.branch(self.mlp(self.norm2(tokens)))


class Convolution(nn.Module):
    def __init__(self, from_: int, to: int, stride: tuple[int, int], kernel: tuple[int, int] = (3, 3)) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv = nn.Conv2d(from_, to, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(to)

    def forward(self, map_: Tensor) -> Tensor:
        return F.gelu(self.norm(self.conv(map_)))


class TinyAst(nn.Module):
    """A network of the shape that a serialised `TinyAstConfig` tells: `(batch, 1, n_mels, n_frames)` → logits."""

    def __init__(self, config: dict, num_classes: int) -> None:
        super().__init__()
        dim, depth, pooling = config["embed_dim"], config["depth"], config["pooling"]
        (kind, shape), = config["stem"].items()
        sides = config["input_size"]
        if kind == "Patches":
            self.stem = nn.Sequential()
            self.patch_embed = nn.Conv2d(1, dim, shape["patch_size"], shape["stride"])
            grid = [(side - shape["patch_size"]) // shape["stride"] + 1 for side in sides]
        else:
            first, joined = tuple(shape["first_stride"]), tuple(shape["pool"])
            layers, from_ = [], 1
            for stage, to in enumerate(shape["channels"]):
                if stage == 0:
                    layers.append(Convolution(from_, to, first, (2 * first[0] - 1, 2 * first[1] - 1)))
                else:
                    layers += [Convolution(from_, to, (2, 2)), Convolution(to, to, (1, 1))]
                from_, stride = to, first if stage == 0 else (2, 2)
                sides = [-(-side // step) for side, step in zip(sides, stride)]
            self.stem = nn.Sequential(*layers)
            self.patch_embed = nn.Conv2d(from_, dim, joined, joined)
            grid = [side // cells for side, cells in zip(sides, joined)]
        n_tokens = grid[0] * grid[1] + (pooling == "ClassToken")
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if pooling == "ClassToken" else None
        self.pos_embed = nn.Parameter(torch.zeros(1, n_tokens, dim))
        skipped = [config["stochastic_depth"] * i / max(depth - 1, 1) for i in range(depth)]
        self.blocks = nn.Sequential(*(Block(config, share) for share in skipped))
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.token_score = nn.Linear(dim, 1) if pooling == "Attention" else None
        self.head = nn.Linear(dim, num_classes)
        self.dropout = config["dropout"]

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = self.patch_embed(self.stem(inputs)).flatten(2).transpose(1, 2)  # (B, n_patches, D)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], 1)
        tokens = tokens + self.pos_embed
        if self.dropout > 0.0:
            tokens = F.dropout(tokens, self.dropout, self.training)
        tokens = self.blocks(tokens)
        if self.cls_token is not None:
            return self.head(self.norm(tokens[:, 0]))
        tokens = self.norm(tokens)
        if self.token_score is not None:
            return self.head((tokens * self.token_score(tokens).softmax(1)).sum(1))
        return self.head(tokens.mean(1))

    def load(self, weights: dict[str, Tensor]) -> None:
        """Takes weights of ours, each of which must have its place here and the other way round."""
        own = {name for name in self.state_dict() if not name.endswith("num_batches_tracked")}
        if own != weights.keys():
            raise SystemExit(f"other parameters than ours: {sorted(own ^ weights.keys())}")
        self.load_state_dict(weights, strict=False)
