# SPDX-License-Identifier: Apache-2.0
"""Every rewritten block gives what the plain block gives, on random weights and odd sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segmif_ros.export.fast_fusion import (
    GRAM_SCALE,
    FastFusionNetwork,
    GramInteraction,
    SourceConvolution,
    SplitDenseBlock,
)
from segmif_ros.export.rewrite import (
    FastBlock,
    FastSegMiF,
    FoldedHead,
    colour_encoder,
    guidance_encoder,
    rewrite,
)
from segmif_ros.network.fusion import (
    DilatedResidualDenseBlock,
    FusionNetwork,
    HierarchicalInteractiveAttention,
)
from segmif_ros.network.mix_transformer import Block, EncoderShape, MixTransformer
from segmif_ros.network.segmif import AllMlpHead, SegMiF, Switches

SMALL = EncoderShape(dims=(16, 32, 40, 64), depths=(1, 2, 1, 1))
ODD = [(45, 67), (64, 96)]


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and running statistic has a say, unlike fresh from initialisation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.1)
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module.double().eval()


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(got: torch.Tensor, expected: torch.Tensor) -> None:
    assert float(expected.std()) > 1e-3, "a constant proves nothing"
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def test_a_convolution_by_source_equals_one_over_the_concatenation() -> None:
    plain = shaken(nn.Conv2d(9, 4, 3, padding=2, dilation=2))
    sources = [random(2, width, 11, 7, seed=width) for width in (4, 2, 3)]
    fast = SourceConvolution(plain, [4, 2, 3])
    same(fast.double()(sources), plain(torch.cat(sources, dim=1)))


@pytest.mark.parametrize("size", [(13, 9), (16, 24)])
def test_dense_block(size: tuple[int, int]) -> None:
    plain = shaken(DilatedResidualDenseBlock(12, 6))
    features = random(1, 12, *size)
    same(SplitDenseBlock(plain).double()(features), plain(features))


@pytest.mark.parametrize("size", [(13, 9), (16, 24)])
def test_interaction_with_projections_before_the_upsampling(size: tuple[int, int]) -> None:
    plain = shaken(HierarchicalInteractiveAttention(16, 4))
    semantic = shaken(nn.Conv2d(24, 16, 1), seed=2)
    ir, vis, coarse = random(1, 16, *size), random(1, 16, *size, seed=3), random(1, 24, 4, 5)
    full = F.interpolate(coarse, size=size, mode="bilinear")
    expected = plain(ir, vis, semantic(full))
    got = GramInteraction(plain, semantic).double()(ir, vis, coarse)
    for a, b in zip(got, expected, strict=True):
        same(a, b)


def test_no_attention_passes_between_heads() -> None:
    plain = shaken(HierarchicalInteractiveAttention(16, 4))
    fast = GramInteraction(plain, nn.Conv2d(8, 16, 1).double()).double()
    context = fast.attend_ir.context(random(1, 5, 7, 16) * GRAM_SCALE)[0, 0]
    for row in range(16):
        for column in range(16):
            assert (float(context[row, column]) == 0.0) == (row // 4 != column // 4)
    torch.testing.assert_close(context.sum(dim=0), torch.ones(16, dtype=torch.float64))


@pytest.mark.parametrize("size", ODD)
def test_fusion_network(size: tuple[int, int]) -> None:
    plain = shaken(FusionNetwork((16, 32), channels=16, growth=8))
    semantic = [random(1, 16, 12, 17), random(1, 32, 6, 9, seed=5)]
    images = random(1, 1, *size), random(1, 1, *size, seed=6)
    same(FastFusionNetwork(plain).double()(*images, semantic), plain(*images, semantic))


@pytest.mark.parametrize("size", ODD)
def test_encoder_takes_the_guidance_as_one_channel(size: tuple[int, int]) -> None:
    plain = shaken(MixTransformer(SMALL))
    guide = random(1, 1, *size)
    expected = plain(guide.expand(-1, 3, -1, -1), stages=2)
    got = guidance_encoder(plain).double()(guide)
    assert len(got) == 2
    for a, b in zip(got, expected, strict=True):
        same(a, b)


@pytest.mark.parametrize("size", ODD)
def test_encoder_normalises_inside_its_first_convolution(size: tuple[int, int]) -> None:
    plain = shaken(MixTransformer(SMALL))
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(1, 3, 1, 1)
    rgb = random(1, 3, *size)
    fast = colour_encoder(plain, mean, std).double()
    for a, b in zip(fast(rgb), plain((rgb - mean) / std), strict=True):
        same(a, b)  # to the last border pixel, where the padding counts


@pytest.mark.parametrize("reduction", [1, 2])
def test_transformer_block(reduction: int) -> None:
    plain = shaken(Block(12, 3, reduction, 4, 0.1))
    tokens = random(2, 9 * 7, 12)
    same(FastBlock(plain).double()(tokens, 9, 7), plain(tokens, 9, 7))


@pytest.mark.parametrize("size", [(11, 17), (16, 24)])
def test_head(size: tuple[int, int]) -> None:
    plain = shaken(AllMlpHead((8, 12, 16, 20), 24, 5))
    height, width = size
    maps = [
        random(1, dim, -(-height >> level) or 1, -(-width >> level) or 1, seed=level)
        for level, dim in enumerate((8, 12, 16, 20))
    ]
    same(FoldedHead(plain).double()(maps), plain(maps))


def cascade(switches: Switches | None = None) -> SegMiF:
    network = SegMiF(SMALL, 5, channels=16, growth=8, head_width=24, switches=switches)
    shaken(network)
    network.fusion.tail3.bias.data.fill_(0.4)
    return network.float()


@pytest.mark.parametrize("size", ODD)
def test_the_whole_cascade(size: tuple[int, int]) -> None:
    network = cascade()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    rgb, thermal = random(1, 3, *size).float(), random(1, 1, *size, seed=8).float()
    got, expected = rewrite(network)(rgb, thermal), network(rgb, thermal)
    for name in ("luma", "rgb", "logits", "guidance"):
        a, b = getattr(got, name), getattr(expected, name)
        assert float(b.std()) > 1e-4, name
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5, msg=name)
    assert float(expected.rgb.min()) < float(expected.rgb.max())
    after = network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_the_run_time_form_does_less_work() -> None:
    network = cascade()
    counted: dict[str, int] = {}

    def count(name: str):
        def hook(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            taps = module.weight[0].numel()
            pixels = output.numel() if isinstance(module, nn.Linear) else output[0].numel()
            counted[name] = counted.get(name, 0) + taps * pixels

        return hook

    rgb, thermal = random(1, 3, 64, 96).float(), random(1, 1, 64, 96).float()
    for name, whole in (("plain", network), ("fast", rewrite(network))):
        for module in whole.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(count(name))
        whole(rgb, thermal)
    assert counted["fast"] < 0.92 * counted["plain"]


def test_a_missing_guidance_image_is_named() -> None:
    network = cascade(Switches(guidance="supplied"))
    for form in (network, rewrite(network)):
        assert isinstance(form, SegMiF | FastSegMiF)
        with pytest.raises(ValueError, match="give the guidance image"):
            form(random(1, 3, 32, 32).float(), random(1, 1, 32, 32).float())
