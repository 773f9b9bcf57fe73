"""Learned positions, and how one table serves several grids."""

from __future__ import annotations

from typing import Any

import torch

from searchspaces.blocks.position_embedding import PositionEmbedding, PositionTable


def test_the_table_is_added_and_begins_small() -> None:
    module: Any = PositionEmbedding().build((3, 4, 5))
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(module(x), x + module.table)
    assert 0 < module.table.abs().max() <= 0.04


def test_equal_grids_share_leading_channels() -> None:
    shared = torch.randn(4, 3, 5)
    assert torch.equal(PositionTable.take("table", shared, (2, 3, 5)), shared[:2])


def test_a_coarser_grid_has_the_means_of_the_positions_that_it_stands_for() -> None:
    shared = torch.randn(3, 4, 6, dtype=torch.float64)
    expected = shared[:2].reshape(2, 2, 2, 3, 2).mean((2, 4))
    torch.testing.assert_close(PositionTable.take("table", shared, (2, 2, 3)), expected, rtol=1e-12, atol=1e-12)


def test_a_plane_over_the_image_stays_the_same_plane_on_a_coarser_grid() -> None:
    def plane(size: int) -> torch.Tensor:
        places = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        return (places[:, None] + 3 * places)[None]

    found = PositionTable.take("table", plane(12), (1, 5, 5))
    torch.testing.assert_close(found, plane(5), rtol=1e-12, atol=1e-12)
