"""What the fields of operators refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from searchspaces import registry
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.gates._role import Gate
from searchspaces.mixers._role import TokenMixer
from searchspaces.part import Part

KERNELS = [0, 2, -1, 3.0, "3", True, (3, 4), (3,), (3, 3, 3)]
"""No kernels of images: those are odd and positive, one number or two."""
OUT_OF_BOUNDS: dict[type[Part], dict[str, dict[str, list[Any]]]] = {
    TokenMixer: {
        "activator": {"ratio": [0, math.inf], "activation": ["tanh"]},
        "adaptive_frequency_filter": {"group_width": [0]},
        "additive_attention": {"kernel": [0]},
        "attention": {"heads": [0], "head_width": [True]},
        "bytenet": {"kernel": [2]},
        "chunked_attention_tcn": {"chunk": [0], "kernel": [2]},
        "collapsible_block": {"hidden": [0]},
        "combiner_attention": {"region": [0], "causal": [1]},
        "context_module": {"dilations": [(0,)]},
        "continuous_kernel": {"kernel": [4], "frequency": [0.0]},
        "depthwise": {"dilation": [0, (1, 0)], "kernel": KERNELS},
        "dilated_neighborhood_attention": {"window": [4], "dilation": [0]},
        "efficient_aspp": {"rates": [()]},
        "ffnified_attention": {"key_kernel": [4], "value_kernel": [0]},
        "fft_net": {"head_width": [0]},
        "flexible_kernel": {"initial_size": [0.0], "layers": [0]},
        "hilo_attention": {"low_share": [1.1, -0.1], "window": [0]},
        "inception_convolution": {"dilations": [(), ((1, 0),)]},
        "inception_mixer": {"low_share": [1.5], "pool": [0], "kernel": [2]},
        "interleaved_attention": {"window": [0], "latents": [0], "depth": [0], "heads": [0], "head_width": [1.5]},
        "intra_channel_convolution": {"bottleneck": [0]},
        "large_kernel": {"kernel": [65, 4]},
        "legendre_memory": {"window": [0]},
        "linear_attention": {"head_width": [0]},
        "long_convolution": {"threshold": [-0.1], "causal": [1]},
        "multi_dilated": {"dilations": [(), (0,)], "kernel": KERNELS},
        "multiresolution_convolution": {"kernel": [1]},
        "omni_scale": {"streams": [0]},
        "partial_convolution": {"ratio": [0.0, 1.5], "padding": ["mirror"]},
        "pooling": {"kernel": KERNELS},
        "rational_transfer": {"state": [0]},
        "recursive_convolution": {"levels": [0], "interpolation": ["cubic"]},
        "rep_mixer": {"kernel": [2], "branches": [0]},
        "rep_mlp": {"window": [0], "kernels": [(2,)], "group_width": [0], "reduction": [0.5]},
        "routing_attention": {"regions": [0], "routed": [0], "kernel": [4]},
        "scale_aware_modulation": {"kernels": [(), (3, 4)], "expansion": [0]},
        "self_calibrated_convolution": {"pooling": [0]},
        "self_moving_points": {"kernel": [65], "points": [0]},
        "shift_convolution": {"distance": [0]},
        "simplified_linear_attention": {"heads": [0]},
        "sparse_attention": {"window": [0], "sinks": [-1], "stride": [-1]},
        "spectral_pooling": {"radius": [0], "balances": [(), (1.2,)], "kernel": [4]},
        "structured_global_convolution": {"decay": [0.0, 1.1]},
        "window_attention": {"window": [0], "shifted": [1]},
    },
    ChannelMixer: {
        "enhanced_ffn": {"ratio": [0], "directions": [3], "activation": ["tanh"]},
        "gated_mlp": {"ratio": [0, -1.0, math.inf], "activation": ["selu"]},
        "low_rank": {"rank": [0, 1.5]},
        "mlp": {"ratio": [0, -1.0, math.inf], "activation": ["selu"]},
        "pick_or_mix": {"factor": [0]},
        "series_activation": {"terms": [0]},
    },
    Gate: {
        "conditional_channel_weighting": {"resolutions": [0]},
        "efficient_channel_attention": {"kernel": [4]},
        "multispectral": {"frequencies": [0, 33, (), ((0, 7),)]},
        "squeeze_excitation": {"reduction": [0, -4, 2.5, True]},
    },
}
"""By role, kind and field: values that the field does not take."""
CASES = [
    (role, kind, field, value)
    for role, kinds in OUT_OF_BOUNDS.items()
    for kind, fields in kinds.items()
    for field, values in fields.items()
    for value in values
]


@pytest.mark.parametrize(("role", "kind", "field", "value"), CASES, ids=lambda value: getattr(value, "__name__", None))
def test_values_out_of_bounds_are_refused(role: type[Part], kind: str, field: str, value: Any) -> None:
    part_class = registry.resolve(role, kind)
    with pytest.raises(ValidationError) as caught:
        part_class(**{field: value})
    assert field in part_class.model_fields
    assert {error["loc"][0] for error in caught.value.errors()} == {field}
