"""CED in eager PyTorch, a layer at a time, with the published names of its tensors."""
from __future__ import annotations

import torch
from torch import nn

#: ced-tiny.
TINY = {"embed_dim": 192, "num_heads": 3, "depth": 12, "outputdim": 527, "target_length": 1012, "n_mels": 64}


class Attention(nn.Module):
    """Multi-head self-attention with one matrix for queries, keys and values."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, n_tokens, dim = tokens.shape
        parts = self.qkv(tokens).reshape(batch, n_tokens, 3, self.heads, dim // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) * (dim // self.heads) ** -0.5).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, n_tokens, dim))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(tokens))))


class Encoder(nn.Module):
    """Batch norm over mel bands, patches, positions, blocks."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        dim = config["embed_dim"]
        self.init_bn = nn.BatchNorm2d(config["n_mels"])
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, 16, 16)})
        self.time_pos_embed = nn.Parameter(torch.randn(1, dim, 1, config["target_length"] // 16) * 0.02)
        self.freq_pos_embed = nn.Parameter(torch.randn(1, dim, config["n_mels"] // 16, 1) * 0.02)
        self.blocks = nn.Sequential(*(Block(dim, config["num_heads"]) for _ in range(config["depth"])))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        normed = self.init_bn(features[:, :, None, :]).transpose(1, 2)
        tokens = self.patch_embed["proj"](normed)
        tokens = tokens + self.time_pos_embed[..., : tokens.shape[-1]] + self.freq_pos_embed
        return self.norm(self.blocks(tokens.flatten(2).transpose(1, 2)))


class Ced(nn.Module):
    """Features `(batch, n_mels, n_frames)` of one piece each to logits."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.outputlayer = nn.Sequential(nn.LayerNorm(config["embed_dim"]), nn.Linear(config["embed_dim"], config["outputdim"]))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.outputlayer(self.encoder(features).mean(1))
