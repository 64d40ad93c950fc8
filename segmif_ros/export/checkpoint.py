# SPDX-License-Identifier: Apache-2.0
"""Reads checkpoints in the layout of the released SegMiF code into our network.

The key names are facts about published files; no code of that release is used.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from segmif_ros.network.mix_transformer import EncoderShape
from segmif_ros.network.segmif import SegMiF, Switches
from segmif_ros.network.variants import B0, B1, B2, B3, B4, B5
from segmif_ros.network.weights_file import WeightsFileError, load_stored, state_dict_of

State = Mapping[str, Tensor]

UNUSED = ("ffm2.", "denoise_net.classifier.")
"""Stored in released checkpoints, without effect on any output."""

BACKBONES = {"b0": B0, "b1": B1, "b2": B2, "b3": B3, "b4": B4, "b5": B5}

_FUSION_NAMES = {
    "conv1_ir": "stem_ir",
    "conv1_vis": "stem_vis",
    "conv2": "tail1",
    "conv21": "tail2",
    "conv22": "tail3",
    "conv3": "semantic1",
    "conv4": "semantic2",
    "relu": "activation",
}
_INTERACTION_NAMES = {
    "channel_proj1": "project_ir",
    "channel_proj2": "project_vis",
    "channel_proj3": "project_seg",
    "cross_attn.kv3": "kv_seg",
    "cross_attn2.kv1": "kv_ir",
    "cross_attn2.kv2": "kv_vis",
    "end_proj1": "merge_ir",
    "end_proj2": "merge_vis",
    "norm1": "norm_ir",
    "norm2": "norm_vis",
}
_NUMBERED = (
    ("head.projections", "decoder.linear_c{}.proj"),
    ("encoder.patch_embeds", "encoder.patch_embed{}"),
    ("encoder.stages", "encoder.block{}"),
    ("encoder.norms", "encoder.norm{}"),
)
"""Our prefixes of a number from 0, and the released ones (after "denoise_net.") around 1 to 4."""
_HEAD = (
    ("head.fuse.", "denoise_net.decoder.linear_fuse.conv."),
    ("head.norm.", "denoise_net.decoder.linear_fuse.bn."),
    ("head.predict.", "denoise_net.decoder.linear_pred."),
)

_LOG = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A file is not a released checkpoint; the message names the first invalid key."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A network with released weights.

    Attributes:
        network: in eval mode.
        backbone: "b0" ... "b5".
        classes: number of output classes.
        dropped: keys that have no effect and were left out.
    """

    network: SegMiF
    backbone: str
    classes: int
    dropped: tuple[str, ...]


def read_state(path: Path) -> dict[str, Tensor]:
    """Load a state dict without unpickling code.

    Prefixes of data-parallel training and torch.compile are removed; half-precision weights become
    float32.

    Raises:
        CheckpointError: unreadable, holds anything but tensors, or a number that is not finite.
    """
    try:
        stored = load_stored(path)
        weights = state_dict_of(stored, path)
    except WeightsFileError as err:
        raise CheckpointError(str(err)) from err
    halves = sum(_is_half(value) for value in stored.values())
    if halves:
        _LOG.info("%s: %d tensors in half precision, converted to float32", path, halves)
    return weights


def _is_half(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)


def import_states(fusion: State, segmentation: State, switches: Switches | None = None) -> Imported:
    """Build the network that two released state dicts describe and load them.

    Args:
        fusion: 97 tensors, names such as "DRDB1.Dcov1.weight".
        segmentation: names such as "denoise_net.encoder.norm1.weight"; the backbone (B0 to B5) and
            the number of classes follow from its shapes.
        switches: behaviour of the network, default: `Switches()`.

    Raises:
        CheckpointError: a key is missing or unknown, or a shape is wrong.
    """
    _check_roles(fusion, segmentation)
    backbone, shape = _encoder_shape(segmentation)
    prediction = _need(segmentation, "denoise_net.decoder.linear_pred.weight", 4)
    network = SegMiF(shape, int(prediction.shape[0]), switches=switches)
    wanted = network.state_dict()
    loaded: dict[str, Tensor] = {}
    dropped = []
    for rename, state in ((_segmentation_key, segmentation), (_fusion_key, fusion)):
        for key, value in state.items():
            if key.startswith(UNUSED):
                dropped.append(key)
                continue
            name = rename(key)
            if name not in wanted:
                raise CheckpointError(
                    f"key {key!r} of shape {_dims(value)} is unknown, expected only the keys of "
                    f"the released SegMiF with MiT-{backbone.upper()}"
                )
            if wanted[name].shape != value.shape:
                raise CheckpointError(
                    f"key {key!r} has shape {_dims(value)}, expected {_dims(wanted[name])}"
                )
            loaded[name] = value
    for name, value in wanted.items():
        # Old checkpoints lack the counters; they have no effect in eval mode.
        if name not in loaded and not name.endswith("num_batches_tracked"):
            raise CheckpointError(
                f"key {released_name(name)!r} is missing, expected shape {_dims(value)}"
            )
    if dropped:
        parts = sorted({next(part for part in UNUSED if k.startswith(part)) for k in dropped})
        _LOG.info(
            "left out %d tensors without effect on any output: %s",
            len(dropped),
            ", ".join(part.rstrip(".") for part in parts),
        )
    network.load_state_dict(loaded, strict=False)
    return Imported(network.eval(), backbone, network.head.predict.out_channels, tuple(dropped))


def released_name(name: str) -> str:
    """Return the released key of one of our parameter names."""
    for stem, ours in _FUSION_NAMES.items():
        if name.startswith(f"fusion.{ours}."):
            return f"{stem}.{name.rpartition('.')[2]}"
    for stem, ours in _INTERACTION_NAMES.items():
        if name.startswith(f"fusion.interaction.{ours}."):
            return f"ffm.cross.{stem}.{name.rpartition('.')[2]}"
    if match := re.fullmatch(r"fusion\.dense\.(\d)\.(?:layers\.(\d)|mix)\.(.*)", name):
        layer = "conv" if match[2] is None else f"Dcov{int(match[2]) + 1}"
        return f"DRDB{int(match[1]) + 1}.{layer}.{match[3]}"
    for ours, released in _NUMBERED:
        if match := re.match(rf"{re.escape(ours)}\.(\d)\.", name):
            rest = name[match.end() :].replace("mlp.dwconv.", "mlp.dwconv.dwconv.")
            return f"denoise_net.{released.format(int(match[1]) + 1)}.{rest}"
    for ours, released in _HEAD:
        if name.startswith(ours):
            return released + name[len(ours) :]
    return name


def _dims(value: Tensor) -> str:
    return "x".join(str(v) for v in value.shape) or "scalar"


def _check_roles(fusion: State, segmentation: State) -> None:
    swapped = any(key.startswith("denoise_net.") for key in fusion)
    if swapped and any(key.startswith("DRDB") for key in segmentation):
        raise CheckpointError(
            "the two files are swapped: the fusion checkpoint has 'denoise_net.' keys and the "
            "segmentation checkpoint has 'DRDB' keys"
        )
    for name, state, prefix in (
        ("fusion", fusion, "DRDB"),
        ("segmentation", segmentation, "denoise_net."),
    ):
        if not any(key.startswith(prefix) for key in state):
            first = next(iter(state), "nothing")
            raise CheckpointError(
                f"the {name} checkpoint has no key that starts with {prefix!r} (its first key is "
                f"{first!r}); give the released {name} file"
            )


def _need(state: State, key: str, dimensions: int) -> Tensor:
    if key not in state:
        raise CheckpointError(f"key {key!r} is missing; is this the right file?")
    if state[key].ndim != dimensions:
        raise CheckpointError(
            f"key {key!r} has shape {_dims(state[key])}, expected {dimensions} dimensions"
        )
    return state[key]


def _encoder_shape(state: State) -> tuple[str, EncoderShape]:
    """Name and shape of the backbone with these depths; widths are checked with the keys."""
    prefix = "denoise_net.encoder."
    depths = tuple(
        len(
            {
                match[1]
                for key in state
                if (match := re.match(rf"denoise_net\.encoder\.block{stage}\.(\d+)\.", key))
            }
        )
        for stage in range(1, 5)
    )
    candidates = {name: shape for name, shape in BACKBONES.items() if shape.depths == depths}
    if not candidates:
        known = ", ".join(f"{name} {shape.depths}" for name, shape in BACKBONES.items())
        raise CheckpointError(f"encoder depths {depths} belong to no backbone, known: {known}")
    width = int(_need(state, f"{prefix}patch_embed1.proj.weight", 4).shape[0])
    for name, shape in candidates.items():
        if shape.dims[0] == width:
            return name, shape
    return list(candidates.items())[-1]


def _fusion_key(key: str) -> str:
    stem, _, leaf = key.rpartition(".")
    if stem in _FUSION_NAMES:
        return f"fusion.{_FUSION_NAMES[stem]}.{leaf}"
    if match := re.fullmatch(r"DRDB([1-4])\.Dcov([1-5])", stem):
        return f"fusion.dense.{int(match[1]) - 1}.layers.{int(match[2]) - 1}.{leaf}"
    if match := re.fullmatch(r"DRDB([1-4])\.conv", stem):
        return f"fusion.dense.{int(match[1]) - 1}.mix.{leaf}"
    if stem.startswith("ffm.cross.") and stem[10:] in _INTERACTION_NAMES:
        return f"fusion.interaction.{_INTERACTION_NAMES[stem[10:]]}.{leaf}"
    return key


def _segmentation_key(key: str) -> str:
    for ours, released in _NUMBERED:
        pattern = re.escape(f"denoise_net.{released}.").replace(r"\{\}", "([1-4])")
        if match := re.match(pattern, key):
            rest = key[match.end() :].replace("dwconv.dwconv.", "dwconv.")
            return f"{ours}.{int(match[1]) - 1}.{rest}"
    for ours, released in _HEAD:
        if key.startswith(released):
            return ours + key[len(released) :]
    return key
