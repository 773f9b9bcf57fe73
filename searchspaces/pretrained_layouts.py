"""What the common libraries call the parameters of a transformer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Where a library keeps a pre-normalized transformer's parameters: names up to `weight` and `bias`.

    `{}` is the number of a layer.
    """

    projection: str
    class_token: str
    positions: str
    attention_norm: str
    attention: tuple[str, ...]
    """Query, key and value, or one name of all three in this order."""
    output: str
    perceptron_norm: str
    expand: str
    project: str
    norm: str
    linear: str


LAYOUTS = {
    "torch": Layout(
        "embedding.",
        "class_token",
        "positions",
        "encoder.layers.{}.norm1.",
        ("encoder.layers.{}.self_attn.in_proj_",),
        "encoder.layers.{}.self_attn.out_proj.",
        "encoder.layers.{}.norm2.",
        "encoder.layers.{}.linear1.",
        "encoder.layers.{}.linear2.",
        "encoder.norm.",
        "head.",
    ),
    "torchvision": Layout(
        "conv_proj.",
        "class_token",
        "encoder.pos_embedding",
        "encoder.layers.encoder_layer_{}.ln_1.",
        ("encoder.layers.encoder_layer_{}.self_attention.in_proj_",),
        "encoder.layers.encoder_layer_{}.self_attention.out_proj.",
        "encoder.layers.encoder_layer_{}.ln_2.",
        "encoder.layers.encoder_layer_{}.mlp.0.",
        "encoder.layers.encoder_layer_{}.mlp.3.",
        "encoder.ln.",
        "heads.head.",
    ),
    "timm": Layout(
        "patch_embed.proj.",
        "cls_token",
        "pos_embed",
        "blocks.{}.norm1.",
        ("blocks.{}.attn.qkv.",),
        "blocks.{}.attn.proj.",
        "blocks.{}.norm2.",
        "blocks.{}.mlp.fc1.",
        "blocks.{}.mlp.fc2.",
        "norm.",
        "head.",
    ),
    "transformers": Layout(
        "embeddings.patch_embeddings.projection.",
        "embeddings.cls_token",
        "embeddings.position_embeddings",
        "encoder.layer.{}.layernorm_before.",
        tuple(f"encoder.layer.{{}}.attention.attention.{role}." for role in ("query", "key", "value")),
        "encoder.layer.{}.attention.output.dense.",
        "encoder.layer.{}.layernorm_after.",
        "encoder.layer.{}.intermediate.dense.",
        "encoder.layer.{}.output.dense.",
        "layernorm.",
        "classifier.",
    ),
}
"""By library; `torch` is an `nn.TransformerEncoder` called `encoder` between modules of these names."""
