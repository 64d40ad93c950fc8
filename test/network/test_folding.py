# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from segmif_ros.network.folding import THERMAL_CHANNELS, VISIBLE_CHANNELS, Folding


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(2, 3, 16, 24), torch.rand(2, 1, 16, 24)


def folded(rgb: torch.Tensor, thermal: torch.Tensor) -> torch.Tensor:
    folding = Folding()
    visible = folding.fold_visible(F.pixel_unshuffle(rgb, 4))
    heat = folding.fold_thermal(F.pixel_unshuffle(thermal, 4))
    assert visible.shape[1] == VISIBLE_CHANNELS
    assert heat.shape[1] == THERMAL_CHANNELS
    return torch.cat([visible, heat], dim=1)


def test_every_quantity_is_the_plain_one(pictures: tuple[torch.Tensor, torch.Tensor]) -> None:
    rgb, thermal = pictures
    luma = (rgb * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)
    both, take = folded(rgb, thermal), Folding().take

    def half(image: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(image, 2)

    expected = {
        "difference": F.pixel_unshuffle(thermal - luma, 4),
        "half_luma": F.pixel_unshuffle(half(luma), 2),
        "half_difference": F.pixel_unshuffle(half(thermal - luma), 2),
        "half_colour": F.pixel_unshuffle(torch.cat([half(rgb), half(thermal)], dim=1), 2),
        "means": F.avg_pool2d(torch.cat([thermal, luma], dim=1), 4),
    }
    for name, value in expected.items():
        torch.testing.assert_close(take(both, name), value, msg=name)


def test_the_shift_moves_each_colour_to_the_guidance_and_leaves_thermal(
    pictures: tuple[torch.Tensor, torch.Tensor],
) -> None:
    both, take = folded(*pictures), Folding().take
    shift = take(both, "half_shift")
    for colour in range(3):
        torch.testing.assert_close(
            shift[:, 4 * colour : 4 * colour + 4], take(both, "half_difference")
        )
    assert float(shift[:, 12:].abs().max()) == 0.0


def test_nothing_is_stored_in_a_checkpoint() -> None:
    assert not Folding().state_dict()
