"""Spaces that the tests share."""

from __future__ import annotations

from typing import Any

from searchspaces.networks._role import Network, Signature
from searchspaces.parse import parse
from searchspaces.space import SearchSpace

SIGNATURE = Signature((1, 9, 7), 5)
POLICIES = [{"kind": "none"}, {"kind": "integer"}]


def choice(*options: Any) -> dict[str, Any]:
    return {"choice": list(options)}


METAFORMER: dict[str, Any] = {
    "kind": "metaformer",
    "stem": {"patch": choice(1, 2), "width": 6},
    "stages": [
        {
            "depth": choice(1, 2, 3),
            "width": choice(5, 8),
            "block": {
                "mixer": choice(
                    {"kind": "depthwise", "kernel": choice(3, 5), "dilation": choice(1, 2)},
                    {"kind": "attention", "heads": choice(1, 2), "head_width": 3},
                    {"kind": "pooling"},
                ),
                "channel_mixer": choice({"kind": "mlp", "ratio": choice(1.5, 2.0)}, {"kind": "gated_mlp"}),
                "gate": choice({"kind": "none"}, {"kind": "squeeze_excitation"}),
            },
        },
        {
            "depth": choice(0, 2),
            "width": choice(7, 9),
            "shared": True,
            "block": {
                "mixer": {"kind": "multi_dilated", "kernel": 3, "dilations": [1, 2]},
                "channel_mixer": {"kind": "mlp", "ratio": choice(1.0, 3.0)},
                "quantization": choice(*POLICIES),
            },
        },
    ],
}
MOBILENET: dict[str, Any] = {
    "kind": "mobilenet",
    "resolution": choice(6, 8),
    "stem": {"width": choice(4, 6), "stride": 1},
    "stages": [
        {
            "depth": choice(1, 2),
            "width": choice(5, 7),
            "block": {"kernel": choice(3, 5, 7), "expansion": choice(1.0, 2.0, 3.0)},
        },
        {
            "depth": 2,
            "width": 8,
            "block": {"kernel": choice(3, 5), "expansion": 2.0, "gate": {"kind": "squeeze_excitation"}},
        },
    ],
    "head": 12,
}
NAS_BENCH_201: dict[str, Any] = {"kind": "nas_bench_201", "filters": 3, "cells": choice(0, 1, 2)}
CELL: dict[str, Any] = {
    "kind": "cell",
    "filters": choice(2, 3),
    "stages": [choice(1, 2), choice(0, 1), 0],
    "nodes": 3,
    "operations": ["skip_connect", "max_pool_3x3", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3"],
    "quantization": choice(*POLICIES),
}
FAMILIES = {"metaformer": METAFORMER, "mobilenet": MOBILENET, "nas_bench_201": NAS_BENCH_201, "cell": CELL}


def space(description: dict[str, Any], signature: Signature = SIGNATURE) -> SearchSpace:
    """The space of a network description."""
    return SearchSpace.of(parse(Network, description, at=("space",), open=True), signature)
