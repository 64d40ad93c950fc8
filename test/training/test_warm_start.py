# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from tiny_training import CLASSES, RECIPE, source, tiny

from segmif_ros.training.batches import draw_batch
from segmif_ros.training.encoder_init import settle_norms


def test_settled_norms_know_the_batches_and_change_nothing() -> None:
    torch.manual_seed(1)
    network = tiny(CLASSES).eval()
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.weight.data.uniform_(0.5, 2.0)
            norm.bias.data.uniform_(-1.0, 1.0)
    batches = [draw_batch(RECIPE, {"blocks": source()}, step) for step in range(3)]
    rgb, thermal = batches[0][:2]
    before = network(rgb, thermal)
    settle_norms(network, batches)
    after = network(rgb, thermal)
    torch.testing.assert_close(after.logits, before.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.luma, before.luma, atol=1e-4, rtol=1e-4)

    seen: list[torch.Tensor] = []
    first = network.encoder.embeds[0]
    first[0].register_forward_hook(lambda *call: seen.append(call[2].detach()))
    for batch in batches:
        network(*batch[:2])
    size = first[0].weight.square().mean(dim=(1, 2, 3)).sqrt()
    assert float(size.max() / size.min()) < 1.001  # AdamW would overwrite small filters at once
    maps = torch.cat(seen).transpose(0, 1).flatten(1)
    torch.testing.assert_close(first[1].running_mean, maps.mean(1), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(first[1].running_var, maps.var(1), atol=1e-4, rtol=1e-2)
