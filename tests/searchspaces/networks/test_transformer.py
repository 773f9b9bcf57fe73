"""The transformer against its published size, and which layers a smaller depth leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from searchspaces.architecture import Architecture
from searchspaces.cost import architecture_cost
from searchspaces.networks._role import Signature
from searchspaces.placements import Placements
from searchspaces.supernet import Supernet
from tests.searchspaces.spaces import choice, space

SMALL: dict[str, Any] = {"kind": "transformer", "width": 8, "block": {"heads": 2, "head_width": 4, "hidden": 8}}


def test_parameters_are_those_of_the_published_vit() -> None:
    block = {"heads": 12, "head_width": 64, "hidden": 3072}
    description = {"kind": "transformer", "patch": 16, "width": 768, "depth": 12, "block": block}
    found = space(description, Signature((3, 224, 224), 1000)).decode(np.zeros(0, dtype=np.int64))
    keys, position_of_class_token = 12 * 768, 768
    assert architecture_cost(found).parameters + keys + position_of_class_token == 86_567_656


def test_a_smaller_depth_leaves_out_the_least_important_layers_in_their_places() -> None:
    found = space({**SMALL, "depth": choice(4, 2, 3), "order": [3, 0, 2, 1]})
    assert [decision.options for decision in found.decisions] == [((0, 1, 2, 3), (0, 3), (0, 2, 3))]
    paths = [{block.path for block in found.decode(np.array([option])).blocks()} for option in range(3)]
    assert paths[0] - paths[1] == {"1.1.0", "1.1.1", "1.2.0", "1.2.1"}
    assert paths[0] - paths[2] == {"1.1.0", "1.1.1"}
    for option in range(3):
        architecture = found.decode(np.array([option]))
        assert found.encode(architecture).tolist() == [option]
        assert Architecture.parse(architecture.describe()) == architecture


def test_a_layer_keeps_its_weights_whatever_is_left_out_before_it() -> None:
    found = space({**SMALL, "depth": choice(1, 2, 3), "order": [2, 0, 1]})
    placements = Placements(found)
    supernet = Supernet(placements)
    one, whole = (found.decode(np.array([option])) for option in (0, 2))
    kept, every = supernet.subnet(one).state(), supernet.subnet(whole).state()
    assert torch.equal(kept["1.norm.weight"], every["5.norm.weight"])
    assert torch.equal(kept["2.mixer.expand.weight"], every["6.mixer.expand.weight"])
    units = placements.of(np.array([[0], [2]]))
    assert (units >= 0).sum(1).tolist() == [len(one.blocks()), len(whole.blocks())] == [4, 8]


def test_an_order_without_choices_keeps_all_layers() -> None:
    fixed = space({**SMALL, "depth": 3, "order": [1, 0, 2]}).decode(np.zeros(0, dtype=np.int64))
    assert fixed == space({**SMALL, "depth": 3}).decode(np.zeros(0, dtype=np.int64))


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [1, 2, 3]])
def test_an_order_that_does_not_name_each_layer_once_is_refused(order: list[int]) -> None:
    with pytest.raises(ValueError, match="each of the layers 0 to 2 once"):
        space({**SMALL, "depth": choice(2, 3), "order": order})


def test_no_heads_and_nothing_hidden_is_no_layer() -> None:
    found = space({**SMALL, "depth": 2, "block": {"heads": choice(0, 2), "head_width": 4, "hidden": choice(8, 0)}})
    rows = np.array([[0, 1, 0, 1], [1, 0, 1, 0]])
    empty, whole = (architecture_cost(found.decode(row)).parameters for row in rows)
    stem_and_head = space({**SMALL, "depth": 0}).decode(np.zeros(0, dtype=np.int64))
    assert empty == architecture_cost(stem_and_head).parameters < whole


def test_a_sequence_is_cut_into_frames() -> None:
    found = space({**SMALL, "patch": 3, "depth": 1}, Signature((5, 7), 4)).decode(np.zeros(0, dtype=np.int64))
    assert found.blocks()[1].shape == (8, 1 + 3, 1)
    assert found.build()(torch.randn(2, 5, 7)).shape == (2, 4)


def test_a_coarser_patch_takes_positions_in_between_and_the_same_class_token() -> None:
    found = space({**SMALL, "patch": choice(2, 4), "depth": 1}, Signature((1, 8, 8), 4))
    torch.manual_seed(0)
    supernet = Supernet(Placements(found))
    fine, coarse = (supernet.subnet(found.decode(np.array([option]))).state() for option in (0, 1))
    table = fine["0.positions.table"]
    means = table.unflatten(1, (2, 2)).unflatten(3, (2, 2)).mean((2, 4))
    torch.testing.assert_close(coarse["0.positions.table"], means)
    assert torch.equal(fine["0.first"], coarse["0.first"])
    assert torch.equal(coarse["0.projection.weight"][:, :, 1:3, 1:3], fine["0.projection.weight"])
