# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from segmif_ros.network.variants import VARIANTS, build


@pytest.mark.parametrize("variant", ["b1", "nano"])
@pytest.mark.parametrize("classes", [9, 15])
def test_outputs_have_the_promised_shapes(variant: str, classes: int) -> None:
    network = build(variant, classes).eval()
    with torch.no_grad():
        output = network(torch.rand(1, 3, 64, 128), torch.rand(1, 1, 64, 128))
    assert output.luma.shape == (1, 1, 64, 128)
    assert output.rgb.shape == (1, 3, 64, 128)
    assert output.logits.shape == (1, classes, 16, 32)
    assert 0.0 <= float(output.rgb.min()) <= float(output.rgb.max()) <= 1.0


def test_the_published_network_has_the_published_size() -> None:
    network = build("paper-b3", 9)
    # 45,639,243 in the released code, less its unused classifier and second attention module.
    unused = 512 * 9 + 66_304
    assert sum(p.numel() for p in network.parameters()) == 45_639_243 - unused


def test_nano_stays_small() -> None:
    assert sum(p.numel() for p in build("nano", 15).parameters()) < 3_200_000


def test_an_unknown_variant_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'b9' is unknown, expected one of"):
        build("b9", 15)
    assert set(VARIANTS) == {"paper-b3", "b0", "b1", "b2", "b4", "b5", "nano"}
