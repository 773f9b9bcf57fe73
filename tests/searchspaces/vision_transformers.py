"""Small vision transformers with the module names of the common libraries, written down from their structure."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHAPE, PATCH, CLASSES = (3, 8, 6), 2, 5
WIDTH, HEADS, HIDDEN, DEPTH = 12, 3, 20, 3
TOKENS = 12


def _tokens(grid: Tensor) -> Tensor:
    return grid.flatten(2).transpose(1, 2)


class Torch(nn.Module):
    """`nn.TransformerEncoder` on patches, the mean of all tokens classified."""

    def __init__(self, depth: int = DEPTH) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(SHAPE[0], WIDTH, PATCH, PATCH)
        self.positions = nn.Parameter(torch.randn(1, TOKENS, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, 0.0, "relu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(_tokens(self.embedding(x)) + self.positions).mean(1))


class Torchvision(nn.Module):
    """As `torchvision.models.VisionTransformer`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(SHAPE[0], WIDTH, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.randn(1, 1 + TOKENS, WIDTH))
        self.encoder.layers = nn.Sequential()
        for number in range(DEPTH):
            layer = nn.Module()
            layer.ln_1, layer.ln_2 = nn.LayerNorm(WIDTH, 1e-6), nn.LayerNorm(WIDTH, 1e-6)
            layer.self_attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
            layer.mlp = nn.Sequential(
                nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Dropout(0.0), nn.Linear(HIDDEN, WIDTH), nn.Dropout(0.0)
            )
            self.encoder.layers.add_module(f"encoder_layer_{number}", layer)
        self.encoder.ln = nn.LayerNorm(WIDTH, 1e-6)
        self.heads = nn.Sequential()
        self.heads.add_module("head", nn.Linear(WIDTH, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        first = self.class_token.expand(len(x), -1, -1)
        x = torch.cat([first, _tokens(self.conv_proj(x))], 1) + self.encoder.pos_embedding
        for layer in self.encoder.layers:
            normed = layer.ln_1(x)
            x = x + layer.self_attention(normed, normed, normed, need_weights=False)[0]
            x = x + layer.mlp(layer.ln_2(x))
        return self.heads(self.encoder.ln(x)[:, 0])


class _TimmBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, 1e-6), nn.LayerNorm(WIDTH, 1e-6)
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.qkv, self.attn.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = self.attn.qkv(self.norm1(x)).reshape(b, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1) / (c // HEADS) ** 0.5).softmax(-1)
        x = x + self.attn.proj((scores @ v).transpose(1, 2).reshape(b, t, c))
        return x + self.mlp.fc2(nn.functional.gelu(self.mlp.fc1(self.norm2(x))))


class Timm(nn.Module):
    """As `timm.models.VisionTransformer`."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(SHAPE[0], WIDTH, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + TOKENS, WIDTH))
        self.blocks = nn.Sequential(*(_TimmBlock() for _ in range(DEPTH)))
        self.norm, self.head = nn.LayerNorm(WIDTH, 1e-6), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        first = self.cls_token.expand(len(x), -1, -1)
        tokens = torch.cat([first, _tokens(self.patch_embed.proj(x))], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class _TransformersLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layernorm_before, self.layernorm_after = nn.LayerNorm(WIDTH, 1e-12), nn.LayerNorm(WIDTH, 1e-12)
        self.attention, self.intermediate, self.output = nn.Module(), nn.Module(), nn.Module()
        self.attention.attention, self.attention.output = nn.Module(), nn.Module()
        for role in ("query", "key", "value"):
            self.attention.attention.add_module(role, nn.Linear(WIDTH, WIDTH))
        self.attention.output.dense = nn.Linear(WIDTH, WIDTH)
        self.intermediate.dense, self.output.dense = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        normed, attention = self.layernorm_before(x), self.attention.attention
        heads = [
            role(normed).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for role in (attention.query, attention.key, attention.value)
        ]
        mixed = nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        x = x + self.attention.output.dense(mixed)
        return x + self.output.dense(nn.functional.gelu(self.intermediate.dense(self.layernorm_after(x))))


class Transformers(nn.Module):
    """As `transformers.ViTForImageClassification`."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = nn.Module()
        self.vit.embeddings, self.vit.encoder = nn.Module(), nn.Module()
        self.vit.embeddings.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.vit.embeddings.position_embeddings = nn.Parameter(torch.randn(1, 1 + TOKENS, WIDTH))
        self.vit.embeddings.patch_embeddings = nn.Module()
        self.vit.embeddings.patch_embeddings.projection = nn.Conv2d(SHAPE[0], WIDTH, PATCH, PATCH)
        self.vit.encoder.layer = nn.ModuleList(_TransformersLayer() for _ in range(DEPTH))
        self.vit.layernorm, self.classifier = nn.LayerNorm(WIDTH, 1e-12), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        embeddings = self.vit.embeddings
        first = embeddings.cls_token.expand(len(x), -1, -1)
        tokens = torch.cat([first, _tokens(embeddings.patch_embeddings.projection(x))], 1)
        tokens = tokens + embeddings.position_embeddings
        for layer in self.vit.encoder.layer:
            tokens = layer(tokens)
        return self.classifier(self.vit.layernorm(tokens)[:, 0])
