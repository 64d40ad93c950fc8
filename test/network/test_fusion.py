# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from segmif_ros.network.fusion import DilatedResidualDenseBlock


def test_the_published_block_has_the_published_parameters() -> None:
    block = DilatedResidualDenseBlock(64, 32)
    assert sum(p.numel() for p in block.parameters()) == 198_880


@pytest.mark.parametrize("size", [(7, 9), (16, 24)])
def test_equals_the_same_weights_without_dilation_on_the_four_parity_images(
    size: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    block = DilatedResidualDenseBlock(8, 4).double()
    features = torch.randn(1, 8, *size, dtype=torch.float64)
    expected = block(features)
    for layer in block.layers:
        layer.dilation = layer.padding = (1, 1)
    for row in (0, 1):
        for column in (0, 1):
            part = block(features[:, :, row::2, column::2])
            torch.testing.assert_close(part, expected[:, :, row::2, column::2])


def test_silent_layers_leave_the_features_alone() -> None:
    block = DilatedResidualDenseBlock(8, 4)
    torch.nn.init.zeros_(block.mix.weight)
    torch.nn.init.zeros_(block.mix.bias)
    features = torch.randn(1, 8, 6, 6)
    torch.testing.assert_close(block(features), features)
