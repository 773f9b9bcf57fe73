"""Every operator for images is exported: in float32 as it is, in int8 as fake quantization promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch

from nas import catalogue
from nas.export._role import Deployable
from nas.export.onnx import Onnx
from nas.export.onnx_int8 import OnnxInt8
from nas.operators import ROLES
from searchspaces.architecture import Architecture
from searchspaces.blocks._role import Block
from searchspaces.blocks.channel_mixing import ChannelMixing
from searchspaces.blocks.classifier import Classifier
from searchspaces.blocks.patch_embedding import PatchEmbedding
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.channel_mixers._role import ChannelMixer
from searchspaces.facts import integer_share
from searchspaces.fused import fused
from searchspaces.gates._role import Gate
from searchspaces.mixers.identity import Identity
from searchspaces.part import Part
from searchspaces.quantization.integer import Integer
from tests.nas.export.networks import deployable

IMAGES = [
    part
    for role in ROLES
    for _, part in catalogue.parts(catalogue.roles()[role])
    if 2 in part.spatial_ranks and not getattr(part, "export", "")  # type: ignore[attr-defined]
]


def block(part: Any) -> Block:
    """The operator in its residual block."""
    if isinstance(part, Gate):
        return TokenMixing(mixer=Identity(), gate=part, quantization=Integer())
    kind = ChannelMixing if isinstance(part, ChannelMixer) else TokenMixing
    return kind(mixer=part, quantization=Integer())


def network(part: Any) -> Deployable:
    """A small network around the operator, none of whose parameters is zero or one."""
    layers = (PatchEmbedding(patch=1, width=12), block(part), Classifier(classes=10))
    return deployable(Architecture((1, 8, 8), layers), spread=0.1)


def run(path: Path, inputs: npt.NDArray[np.float32], batch: int | None) -> npt.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pieces = np.split(inputs, len(inputs) // batch) if batch else [inputs]
    return np.concatenate([session.run(None, {"input": piece})[0] for piece in pieces])


def distance(found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> float:
    """Root mean square of the difference over that of the wanted logits about their mean."""
    return float(np.sqrt(((found - wanted) ** 2).mean() / wanted.var()))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part_class", IMAGES, ids=lambda part_class: part_class.kind())
def test_files_in_float32_and_int8_compute_the_same(part_class: type[Part], tmp_path: Path) -> None:
    part: Any = part_class()
    model = network(part)
    inputs = model.calibration[:64]
    promised = model.architecture.build()
    promised.load_state_dict(model.state)
    with torch.inference_mode():
        plain, expected = (net.eval()(torch.from_numpy(inputs)).numpy() for net in (model.network, promised))
    (file,) = Onnx().write(model, tmp_path)
    assert distance(run(file, inputs, Onnx().batch_size(tmp_path)), plain) < 1e-5
    written = OnnxInt8().write(model, tmp_path)
    assert bool(written) == bool(integer_share(fused(part.build((12, 8, 8)).eval())))
    for path in written:
        assert distance(run(path, inputs, OnnxInt8().batch_size(tmp_path)), expected) < 0.1
