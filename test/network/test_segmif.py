# SPDX-License-Identifier: Apache-2.0
"""Each switch against its definition, in the plain network, its run-time form and the manifest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segmif_ros.export.rewrite import FastSegMiF, rewrite
from segmif_ros.network.guidance import hand_over
from segmif_ros.network.mix_transformer import EncoderShape
from segmif_ros.network.segmif import SegMiF, Switches

SMALL = EncoderShape(dims=(16, 32, 40, 64), depths=(1, 1, 1, 1))
SIZE = (48, 80)


def pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    shapes = ((1, 3, *SIZE), (1, 1, *SIZE), (1, 1, *SIZE))
    images = [torch.rand(s, generator=generator) for s in shapes]
    return images[0], images[1], images[2]


def networks(switches: Switches) -> list[SegMiF | FastSegMiF]:
    torch.manual_seed(0)
    plain = SegMiF(SMALL, 5, channels=16, growth=8, head_width=24, switches=switches)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        plain.fusion.tail3.bias.fill_(0.3)
    return [plain.eval(), rewrite(plain)]


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def test_defaults_are_the_ones_for_video() -> None:
    assert Switches().to_manifest() == {
        "visible_input": "luma",
        "guidance": "saliency",
        "min_max_stretch": False,
        "eight_bit_hand_over": False,
        "attention": "sum",
    }


@pytest.mark.parametrize("field", ["visible_input", "guidance"])
def test_an_unknown_value_is_refused_by_name(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 'green', expected one of"):
        Switches(**{field: "green"})


def test_red_sees_nothing_of_green_in_the_fusion_network() -> None:
    rgb, thermal, guide = pair()
    other = rgb.clone()
    other[:, 1] = 1.0 - other[:, 1]
    for kind, equal in (("red", True), ("luma", False)):
        for network in networks(Switches(visible_input=kind)):  # type: ignore[arg-type]
            first, second = network(rgb, thermal, guide), network(other, thermal, guide)
            assert torch.equal(first.luma, second.luma) == equal


def test_a_supplied_guidance_is_what_the_encoder_gets() -> None:
    rgb, thermal, guide = pair()
    for network in networks(Switches(guidance="supplied")):
        output = network(rgb, thermal, guide)
        assert torch.equal(output.guidance, guide)
        assert not torch.equal(output.luma, network(rgb, thermal, guide.flip(3)).luma)


def test_saliency_is_what_a_supplied_image_would_have_been() -> None:
    rgb, thermal, _ = pair()
    computed = networks(Switches())[0](rgb, thermal)
    supplied = networks(Switches(guidance="supplied"))[0](rgb, thermal, computed.guidance)
    torch.testing.assert_close(supplied.luma, computed.luma)


def published(rgb: np.ndarray) -> np.ndarray:
    """Truncate, stretch over all pixels and channels, truncate; whole numbers throughout."""
    levels = np.floor(rgb.astype(np.float64) * 255.0).astype(int)
    low, high = levels.min(), levels.max()
    return (levels - low) * 255 // (high - low)


def test_the_output_of_the_scripts() -> None:
    levels = torch.randint(20, 200, (1, 3, *SIZE), generator=torch.Generator().manual_seed(1))
    rgb = (levels + 0.25) / 255.0
    got = hand_over(rgb, min_max_stretch=True, eight_bit=True) * 255.0
    np.testing.assert_allclose(got.numpy(), published(rgb.numpy()), atol=1e-4)
    assert float(got.min()) == 0.0
    assert float(got.max()) == pytest.approx(255.0, abs=1e-4)


def test_eight_bits_truncate_and_do_not_round() -> None:
    rgb = torch.full((1, 3, 4, 4), 99.9 / 255.0)
    got = hand_over(rgb, min_max_stretch=False, eight_bit=True)
    torch.testing.assert_close(got * 255.0, torch.full_like(got, 99.0))


def test_stretch_alone_is_linear_and_depends_on_no_other_image() -> None:
    rgb = torch.stack([torch.linspace(0.2, 0.6, 48), torch.linspace(0.1, 0.9, 48)])
    got = hand_over(rgb.reshape(2, 3, 4, 4), min_max_stretch=True, eight_bit=False)
    torch.testing.assert_close(got[0].flatten(), torch.linspace(0.0, 1.0, 48))
    torch.testing.assert_close(got[1].flatten(), torch.linspace(0.0, 1.0, 48))


@pytest.mark.parametrize("eight_bit", [False, True])
def test_an_image_of_one_value_stays(eight_bit: bool) -> None:
    flat = torch.full((1, 3, 4, 4), 51.0 / 255.0)
    got = hand_over(flat, min_max_stretch=True, eight_bit=eight_bit)
    torch.testing.assert_close(got, flat)


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("eight_bit", [False, True])
def test_segmentation_gets_what_is_passed_on(stretch: bool, eight_bit: bool) -> None:
    rgb, thermal, guide = pair()
    plain = networks(Switches())[0](rgb, thermal, guide)
    switches = Switches(min_max_stretch=stretch, eight_bit_hand_over=eight_bit)
    expected = hand_over(plain.rgb, min_max_stretch=stretch, eight_bit=eight_bit)
    for network in networks(switches):
        output = network(rgb, thermal, guide)
        moved = (output.rgb - expected).abs()
        # A value on a whole level may fall to either side.
        assert float((moved > 1e-5).float().mean()) <= (1e-3 if eight_bit else 0.0)
        scores = network.head(
            network.encoder(output.rgb)
            if isinstance(network, FastSegMiF)
            else network.encoder((output.rgb - network.mean) / network.std)
        )
        torch.testing.assert_close(output.logits, scores)
        assert F.mse_loss(output.luma, plain.luma) < 1e-10
