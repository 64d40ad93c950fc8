# SPDX-License-Identifier: Apache-2.0
"""Starts from weights of a bundle, of a narrower network, or with a MiT or SegFormer encoder.

Two layouts are in use: the original one ("block1.0.attn.kv.weight", bare or behind "backbone.",
"denoise_net.encoder." or the like) and that of Hugging Face's transformers
("segformer.encoder.block.0.0.attention.self.key.weight"), which keeps keys and values apart. The
names are facts about published files; every tensor is loaded by name and checked by shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from segmif_ros.export.checkpoint import released_name
from segmif_ros.network.compact_encoder import ConvNorm
from segmif_ros.network.mix_transformer import MixTransformer
from segmif_ros.network.weights_file import WeightsFileError, load_stored, state_dict_of
from segmif_ros.training.batches import Batch

_RELEASED = "denoise_net.encoder."
_TRANSFORMERS = (
    (r"patch_embeds\.(\d)\.proj\.", r"patch_embeddings.\1.proj."),
    (r"patch_embeds\.(\d)\.norm\.", r"patch_embeddings.\1.layer_norm."),
    (r"norms\.(\d)\.", r"layer_norm.\1."),
    (r"stages\.(\d)\.(\d+)\.norm1\.", r"block.\1.\2.layer_norm_1."),
    (r"stages\.(\d)\.(\d+)\.norm2\.", r"block.\1.\2.layer_norm_2."),
    (r"stages\.(\d)\.(\d+)\.attn\.q\.", r"block.\1.\2.attention.self.query."),
    (r"stages\.(\d)\.(\d+)\.attn\.kv\.", r"block.\1.\2.attention.self.{}."),
    (r"stages\.(\d)\.(\d+)\.attn\.sr\.", r"block.\1.\2.attention.self.sr."),
    (r"stages\.(\d)\.(\d+)\.attn\.norm\.", r"block.\1.\2.attention.self.layer_norm."),
    (r"stages\.(\d)\.(\d+)\.attn\.proj\.", r"block.\1.\2.attention.output.dense."),
    (r"stages\.(\d)\.(\d+)\.mlp\.fc1\.", r"block.\1.\2.mlp.dense1."),
    (r"stages\.(\d)\.(\d+)\.mlp\.fc2\.", r"block.\1.\2.mlp.dense2."),
    (r"stages\.(\d)\.(\d+)\.mlp\.dwconv\.", r"block.\1.\2.mlp.dwconv.dwconv."),
)
"""Our names and those of transformers below "segformer.encoder."; {} stands for key and value."""

_ANCHORS = {
    "original": re.compile(r"^(.*?)patch_embed1\.proj\.weight$"),
    "Hugging Face": re.compile(r"^(.*?)patch_embeddings\.0\.proj\.weight$"),
}
"""The key that identifies the layout and the prefix of all names."""


class EncoderError(ValueError):
    """A file without a matching encoder; the message names the first invalid key."""


@dataclass(frozen=True, slots=True)
class EncoderReport:
    """Summary of a loaded checkpoint.

    Attributes:
        path: of the file.
        layout: "original" or "Hugging Face".
        taken: tensors of our encoder that were filled: all of them.
        left: keys of the file that were not needed, such as a classification head.
    """

    path: Path
    layout: str
    taken: int
    left: tuple[str, ...]

    def __str__(self) -> str:
        rest = f", {len(self.left)} left ({', '.join(self.left[:3])}, ...)" if self.left else ""
        return f"encoder from {self.path} ({self.layout} layout): {self.taken} tensors taken{rest}"


def load_encoder(network: nn.Module, path: Path) -> EncoderReport:
    """Fill the encoder of a network.

    Args:
        network: with a mix transformer as `encoder`.
        path: file written by torch.save; nothing in it is run.

    Raises:
        EncoderError: another kind of encoder, an unknown layout, or a shape that does not fit.
    """
    encoder = network.encoder
    if not isinstance(encoder, MixTransformer):
        raise EncoderError(
            "this variant's encoder is no mix transformer (nano has its own, channels first), so "
            "no MiT checkpoint fits it; take paper-b3 or b0 to b5, or use --start"
        )
    state = _read(path)
    layout, prefix = _layout(path, state)
    wanted = encoder.state_dict()
    found: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, own in wanted.items():
        keys = [prefix + key for key in _names(name, layout)]
        missing = [key for key in keys if key not in state]
        if missing:
            raise EncoderError(
                f"{path}: key {missing[0]!r} is missing; the file's encoder is smaller than the "
                f"recipe's (depths {encoder.shape.depths}, widths {encoder.shape.dims})"
            )
        value = torch.cat([state[key] for key in keys]).float()
        if value.shape != own.shape:
            raise EncoderError(
                f"{path}: key {keys[0]!r} has shape {tuple(state[keys[0]].shape)}, the recipe's "
                f"encoder (depths {encoder.shape.depths}, widths {encoder.shape.dims}) needs "
                f"{tuple(own.shape)}"
            )
        found[name] = value
        used.update(keys)
    deeper = _blocks(prefix, layout, state.keys() - used)
    if deeper:
        raise EncoderError(
            f"{path}: key {deeper[0]!r} has no place; the file's encoder is deeper than the "
            f"recipe's (depths {encoder.shape.depths})"
        )
    encoder.load_state_dict(found)
    return EncoderReport(path, layout, len(found), tuple(sorted(state.keys() - used)))


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        raise EncoderError(
            f"{path}: give the .bin of the same weights, or convert it once: "
            "torch.save(safetensors.torch.load_file(FILE), 'mit.pth')"
        )
    try:
        stored = load_stored(path)
        if isinstance(stored, dict):
            stored = {k: v for k, v in stored.items() if isinstance(v, Tensor | dict)}
        return state_dict_of(stored, path)
    except WeightsFileError as err:
        raise EncoderError(f"{err}; give a MiT or SegFormer checkpoint (.pth, .bin)") from err


def _layout(path: Path, state: Mapping[str, Tensor]) -> tuple[str, str]:
    """Return the layout of the names, and their prefix."""
    for layout, anchor in _ANCHORS.items():
        for key in state:
            if match := anchor.match(key):
                return layout, match[1]
    first = next(iter(state), "nothing")
    raise EncoderError(
        f"{path} holds no MiT encoder: no key ends in 'patch_embed1.proj.weight' (original) or "
        f"'patch_embeddings.0.proj.weight' (Hugging Face); its first key is {first!r}"
    )


def _names(name: str, layout: str) -> list[str]:
    """Return the names of a tensor in a layout: one, or those of key and value."""
    if layout == "original":
        return [released_name(f"encoder.{name}").removeprefix(_RELEASED)]
    for ours, theirs in _TRANSFORMERS:
        if match := re.match(ours, name):
            full = match.expand(theirs) + name[match.end() :]
            return [full.format(part) for part in ("key", "value")] if "{}" in full else [full]
    raise EncoderError(f"{name!r} has no name in transformers")


def _blocks(prefix: str, layout: str, keys: set[str]) -> list[str]:
    """Keys of transformer blocks."""
    block = r"block\d\.\d+\." if layout == "original" else r"block\.\d\.\d+\."
    return sorted(key for key in keys if re.match(re.escape(prefix) + block, key))


_TRAINED_SIZE = 3.0
"""Filters after a training, as a multiple of PyTorch's initial ones (measured on convolutions
without a norm)."""


def settle_norms(network: nn.Module, batches: Iterable[Batch]) -> None:
    """Set every BatchNorm to the statistics of real batches without changing its output.

    Weights of a bundle come back with BatchNorms that do nothing; trained like that, the first
    batch's statistics would change every map.
    """
    norms = {n: m for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    sums = {name: torch.zeros(3, norm.num_features) for name, norm in norms.items()}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach().float().transpose(0, 1).flatten(1)
            sums[name] += torch.stack(
                [x.sum(1), (x * x).sum(1), torch.full_like(x[:, 0], x.shape[1])]
            ).cpu()

        return norms[name].register_forward_pre_hook(see)

    hooks = [watch(name) for name in norms]
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        for rgb, thermal, *_ in batches:
            network(rgb.to(device), thermal.to(device))
        for hook in hooks:
            hook.remove()
        for name, norm in norms.items():
            total, square, count = sums[name].to(device)
            mean = total / count
            var = (square / count - mean**2).clamp(min=0.0)
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            norm.bias += gain * (mean - norm.running_mean)
            norm.weight.copy_(gain * torch.sqrt(var + norm.eps))
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
        for pair in network.modules():
            if isinstance(pair, ConvNorm):
                _rescale(*pair)
    network.train(training)


def _rescale(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Rescale each filter to its size in training; the norm behind it divides by it again.

    Folding has multiplied filters by the norm's gain over its deviation. An optimiser whose steps
    do not depend on the size of a weight, as AdamW, overwrites small ones within a few steps.
    """
    weight = convolution.weight
    size = weight.square().mean(dim=(1, 2, 3)).sqrt().clamp(min=1e-8)
    scale = _TRAINED_SIZE * (3.0 * weight[0].numel()) ** -0.5 / size
    weight *= scale[:, None, None, None]
    before = torch.sqrt(norm.running_var + norm.eps)
    norm.running_mean *= scale
    norm.running_var *= scale.square()
    norm.weight *= torch.sqrt(norm.running_var + norm.eps) / (scale * before)
