# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from segmif_ros.network.compact import CompactInteraction
from segmif_ros.network.interaction import HierarchicalInteractiveAttention


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
    features = [torch.randn(2, channels, 5, 7, dtype=torch.float64) for _ in range(3)]
    y = [torch.relu(p(x)).flatten(2) for p, x in zip(module.project_y, features, strict=True)]
    u = [torch.relu(p(x)).flatten(2) for p, x in zip(module.project_u, features, strict=True)]

    def attend(query: torch.Tensor, source: torch.Tensor, index: int) -> torch.Tensor:
        k, v = module.keys[index] @ source, module.values[index] @ source
        out = torch.empty_like(query)
        for part in torch.arange(channels).chunk(heads):
            logits = k[:, part] @ v[:, part].transpose(1, 2) / 35 * module.temperature[index]
            context = torch.softmax(logits, dim=1)
            out[:, part] = context.transpose(1, 2) @ query[:, part]
        return out

    outputs = module(*features)
    for i in (0, 1):
        change = module.merge[i, 0] @ attend(y[2], y[i], i)
        change = change + module.merge[i, 1] @ attend(u[i], u[2], 2)
        expected = module.norm[i](features[i] + change.reshape(features[i].shape))
        torch.testing.assert_close(outputs[i], expected)


def test_compact_exchange_holds_at_any_size() -> None:
    # Tiling the picture must not sharpen the attention: the logits are per pixel.
    torch.manual_seed(2)
    module = CompactInteraction(8, 2).eval()
    features = [torch.randn(1, 8, 4, 4) for _ in range(3)]
    small = module(*features)[0]
    large = module(*[x.repeat(1, 1, 3, 3) for x in features])[0]
    torch.testing.assert_close(large[..., :4, :4], small, rtol=1e-4, atol=1e-5)
