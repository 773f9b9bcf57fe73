"""Patch sizes as a choice, down to single pixels: with every mixer, and what the sizes share."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from searchspaces.blocks.patch_embedding import PatchEmbedding
from searchspaces.blocks.token_mixing import TokenMixing
from searchspaces.cost import cost
from searchspaces.mixers._role import TokenMixer
from searchspaces.mixers.attention import Attention
from searchspaces.mixers.linear_attention import LinearAttention
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.registry import kinds, resolve
from searchspaces.skeleton import Role, take
from searchspaces.supernet import Supernet
from tests.searchspaces.spaces import choice, space

IMAGE = [kind for kind in kinds(TokenMixer) if 2 in resolve(TokenMixer, kind).spatial_ranks]
SIGNATURE = Signature((1, 8, 6), 3)


def isotropic(mixer: str) -> dict[str, object]:
    """One stage at the stem's width, whatever the patch."""
    block = {"mixer": {"kind": mixer}, "channel_mixer": {"kind": "mlp", "ratio": 1.0}}
    return {
        "kind": "metaformer",
        "stem": {"patch": choice(1, 2, 4), "width": 6},
        "stages": [{"depth": 1, "block": block}],
    }


@pytest.mark.parametrize("mixer", IMAGE)
def test_every_mixer_trains_and_runs_alone_at_every_patch_size(mixer: str) -> None:
    torch.manual_seed(0)
    found = space(isotropic(mixer), SIGNATURE)
    supernet = Supernet(Placements(found)).double()
    assert found.count == 3
    for row, size in zip(np.arange(3)[:, None], ((8, 6), (4, 3), (2, 2)), strict=True):
        architecture, x = found.decode(row), torch.randn(3, 1, 8, 6, dtype=torch.float64)
        assert architecture.blocks()[1].shape == (6, *size)
        subnet, alone = supernet.subnet(architecture).double(), architecture.build().double()
        subnet.recalibrate([x, 2 * x])
        alone.load_state_dict(subnet.state())
        torch.testing.assert_close(subnet(x), alone.eval()(x), rtol=1e-10, atol=1e-10)
        supernet.zero_grad()
        F.cross_entropy(subnet.train()(x), torch.tensor([0, 1, 2])).backward()
        assert all(p.grad.isfinite().all() for p in supernet.parameters() if p.grad is not None)


def taps(part: PatchEmbedding) -> dict[tuple[int, int], tuple[float, float]]:
    """For each tap of the shared kernel that a patch size uses: the pixel that it reads, from the patch's centre."""
    module = part.build((1, 24, 24))
    projection = module.get_submodule("projection")
    shared = torch.arange(36.0).view(1, 1, 6, 6)
    weight = projection.get_parameter("weight")
    kernel = take(Role("", projection, "weight", tuple(weight.shape)), shared)[0, 0]
    found = {}
    with torch.no_grad():
        for place in itertools.product(range(len(kernel)), repeat=2):
            weight.zero_()
            weight[0, 0][place] = 1
            image = torch.zeros(1, 1, 24, 24, requires_grad=True)
            with torch.enable_grad():
                (pixels,) = torch.autograd.grad(projection(image)[0, 0, 2, 2], image)
            pixel = pixels[0, 0].nonzero()[0]
            centre = 2 * part.patch + (part.patch - 1) / 2
            number = int(kernel[place])
            found[divmod(number, 6)] = (float(pixel[0]) - centre, float(pixel[1]) - centre)
    return found


@pytest.mark.parametrize(("patch", "overlap"), [(1, 0), (1, 1), (2, 0), (2, 1), (3, 1), (4, 0), (2, 2), (1, 2)])
def test_a_tap_reads_the_same_place_from_the_centre_of_every_patch_size(patch: int, overlap: int) -> None:
    whole, part = taps(PatchEmbedding(patch=4, width=1)), taps(PatchEmbedding(patch=patch, width=1, overlap=overlap))
    assert len(part) == (patch + 2 * overlap) ** 2
    shifts = {(part[tap][0] - whole[tap][0], part[tap][1] - whole[tap][1]) for tap in part}
    assert shifts == {(0, 0) if patch % 2 == 0 else (0.5, 0.5)}, "even and odd patches have their centres half apart"


def test_a_patch_of_one_pixel_keeps_every_pixel() -> None:
    module = PatchEmbedding(patch=1, width=5, overlap=0).build((2, 3, 4)).eval()
    x = torch.randn(2, 2, 3, 4)
    weight = module.get_parameter("projection.weight")[:, :, 0, 0]
    torch.testing.assert_close(module(x), torch.einsum("oc,bchw->bohw", weight, x) / (1 + 1e-5) ** 0.5)


@pytest.mark.parametrize(("patch", "tokens"), [(4, 4), (2, 16), (1, 64)])
def test_linear_attention_costs_in_proportion_to_tokens_and_attention_by_their_square(patch: int, tokens: int) -> None:
    shape = PatchEmbedding(patch=patch, width=8).output_shape((1, 8, 8))
    linear = TokenMixing(mixer=LinearAttention())
    assert cost(linear, shape).macs == tokens * cost(linear, (8, 1, 1)).macs
    attention, projections = TokenMixing(mixer=Attention()), 4 * 8 * 64 * tokens
    assert cost(attention, shape).macs - projections == 2 * 64 * tokens**2
