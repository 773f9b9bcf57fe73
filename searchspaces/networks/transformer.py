"""Transformer: a plain pre-normalized encoder of patches."""

from __future__ import annotations

from typing import Any, Literal

from searchspaces.architecture import Layers
from searchspaces.blocks.attention_layer import AttentionLayer, Count, Epsilon
from searchspaces.blocks.feed_forward_layer import FeedForwardLayer
from searchspaces.blocks.token_classifier import TokenClassifier
from searchspaces.blocks.token_embedding import TokenEmbedding
from searchspaces.choice import Choice, Places, Subset, variants
from searchspaces.networks._role import Network, Signature, StageDepth, Width, elastic
from searchspaces.part import Part
from searchspaces.quantization._role import QuantizationPolicy
from searchspaces.quantization.none import NoQuantization


class TransformerBlock(Part):
    """What is elastic in a layer: attention and perceptron, with one quantization policy for both."""

    heads: Count = 4
    """0 leaves the attention out."""
    head_width: Width = 16
    hidden: Count = 64
    """Hidden channels of the perceptron; 0 leaves it out."""
    activation: Literal["gelu", "relu", "silu", "hard_swish"] = "gelu"
    quantization: QuantizationPolicy = NoQuantization()

    def halves(self, epsilon: Any) -> tuple[AttentionLayer, FeedForwardLayer]:
        """The two residual blocks that this is."""
        shared = {"epsilon": epsilon, "quantization": self.quantization}
        attention = AttentionLayer.opened(heads=self.heads, head_width=self.head_width, **shared)
        return attention, FeedForwardLayer.opened(hidden=self.hidden, activation=self.activation, **shared)


class Transformer(Network):
    """Vision transformer (arXiv:2010.11929): patches, layers of attention and perceptron, classifier.

    ViT-B/16 is `patch: 16, width: 768, depth: 12` and blocks of 12 heads of width 64 and 3072 hidden channels, with
    epsilon 1e-6. Layers, heads and hidden channels can be left out of a trained one (see `Supernet.from_pretrained`).
    """

    patch: Width = 2
    width: Width
    depth: StageDepth
    block: TransformerBlock = TransformerBlock()
    class_token: bool = True
    """Without it the classifier reads the mean of all tokens."""
    epsilon: Epsilon = 1e-5
    """Of the layer normalizations."""
    order: tuple[Count, ...] = ()
    """Numbers of the layers, the most important first: a smaller depth leaves out the last of these. Without it a
    smaller depth leaves out the last layers."""
    shared: bool = False
    """Tie the decisions of the layers: one choice for all of them."""

    def layers(self, signature: Signature) -> Layers:
        """[embedding, layers, classifier].

        Raises:
            ValueError: the order does not name each layer once.
        """
        embedding = TokenEmbedding.opened(patch=self.patch, width=self.width, class_token=self.class_token)
        head = TokenClassifier.opened(classes=signature.outputs, class_token=self.class_token, epsilon=self.epsilon)
        stage = elastic(self.depth, self.block.halves(self.epsilon), self.block, self.shared)
        return (embedding, self._ordered(stage) if self.order else stage, head)

    def _ordered(self, stage: Subset) -> Places:
        """The stage whose layers are left out by their importance."""
        most = max(variants(self.depth))
        if sorted(self.order) != list(range(most)):
            raise ValueError(f"order must name each of the layers 0 to {most - 1} once, not {list(self.order)}")
        kept = {depth: tuple(sorted(self.order[:depth])) for depth in variants(self.depth)}
        if isinstance(self.depth, Choice):
            return Places(Choice(self.depth.path, tuple(kept[depth] for depth in self.depth.options)), stage.items)
        return Places(kept[self.depth], stage.items)
