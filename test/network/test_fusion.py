# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from segmif_ros.network.compact import CompactInteraction
from segmif_ros.network.fusion import DilatedResidualDenseBlock, HierarchicalInteractiveAttention


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


def test_the_published_exchange_has_the_published_parameters() -> None:
    module = HierarchicalInteractiveAttention(64)
    assert sum(p.numel() for p in module.parameters()) == 66_304


def test_the_exchange_does_not_care_where_a_pixel_is() -> None:
    torch.manual_seed(0)
    module = HierarchicalInteractiveAttention(16, 4).double()
    features = [torch.randn(1, 16, 5, 7, dtype=torch.float64) for _ in range(3)]
    order = torch.randperm(35)

    def shuffle(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2)[..., order].reshape(x.shape)

    straight = [shuffle(x) for x in module(*features)]
    shuffled = module(*[shuffle(x) for x in features])
    for a, b in zip(straight, shuffled, strict=True):
        torch.testing.assert_close(a, b)


def test_compact_exchange_equals_attention_with_keys_and_values() -> None:
    """The Gram form against the formula of SoAM and MoAM, written out per head."""
    torch.manual_seed(1)
    channels, heads = 16, 4
    module = CompactInteraction(channels, heads).double().eval()
    infrared, visible, semantic = (
        torch.randn(2, channels, 5, 7, dtype=torch.float64) for _ in range(3)
    )
    cameras = [infrared, visible]
    y = [torch.relu(module.camera_y(x)).flatten(2) for x in cameras]
    u = [torch.relu(module.camera_u(x)).flatten(2) for x in cameras]
    query = torch.relu(module.semantic_y(semantic)).flatten(2)
    source = torch.relu(module.semantic_u(semantic)).flatten(2)

    def attend(query: torch.Tensor, source: torch.Tensor, index: int) -> torch.Tensor:
        k, v = module.keys[index] @ source, module.values[index] @ source
        out = torch.empty_like(query)
        for part in torch.arange(channels).chunk(heads):
            logits = k[:, part] @ v[:, part].transpose(1, 2) / 35 * module.temperature[index]
            context = torch.softmax(logits, dim=1)
            out[:, part] = context.transpose(1, 2) @ query[:, part]
        return out

    updated = module(torch.cat(cameras), semantic).chunk(2)
    for i in (0, 1):
        change = module.merge_soam[i] @ attend(query, y[i], i)
        change = change + module.merge_moam[i] @ attend(u[i], source, 2)
        expected = module.norm(cameras[i] + change.reshape(cameras[i].shape))
        torch.testing.assert_close(updated[i], expected)


def test_compact_exchange_holds_at_any_size() -> None:
    # Tiling the picture must not sharpen the attention: the logits are per pixel.
    torch.manual_seed(2)
    module = CompactInteraction(8, 2).eval()
    pair, semantic = torch.randn(2, 8, 4, 4), torch.randn(1, 8, 4, 4)
    small = module(pair, semantic)
    large = module(pair.repeat(1, 1, 3, 3), semantic.repeat(1, 1, 3, 3))
    torch.testing.assert_close(large[..., :4, :4], small, rtol=1e-4, atol=1e-5)
