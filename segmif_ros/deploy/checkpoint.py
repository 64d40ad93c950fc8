# SPDX-License-Identifier: Apache-2.0
"""Reads checkpoints in the layout of the released SegMiF code into our network.

The key names are facts about files that people have on disk; no code of that release is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from segmif_ros.network.mix_transformer import EncoderShape
from segmif_ros.network.segmif import SegMiF

State = Mapping[str, Tensor]

UNUSED = ("ffm2.", "denoise_net.classifier.")
"""Stored in released checkpoints, without effect on any output."""

_DEPTHS = {
    (2, 2, 2, 2): "b0/b1",
    (3, 4, 6, 3): "b2",
    (3, 4, 18, 3): "b3",
    (3, 8, 27, 3): "b4",
    (3, 6, 40, 3): "b5",
}

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


class CheckpointError(ValueError):
    """A file is no released checkpoint; the message names the first offending key."""


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

    Raises:
        CheckpointError: unreadable, holds anything but tensors, or no state dict at all.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:  # torch raises half a dozen unrelated classes here
        reason = str(err).splitlines()[0]
        raise CheckpointError(
            f"{path} cannot be read as plain weights ({reason}); expected a state dict saved by "
            "torch.save; files that contain code are refused"
        ) from err
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no plain state dict; save model.state_dict() itself")
    return {key.removeprefix("module."): value.float() for key, value in state.items()}


def import_states(fusion: State, segmentation: State) -> Imported:
    """Build the network that two released state dicts describe and load them.

    Raises:
        CheckpointError: a key is missing or unknown, or a shape is wrong.
    """
    if "stem.weight" in fusion or any(key.startswith("denoise_net.") for key in fusion):
        raise CheckpointError(
            "the fusion checkpoint has 'denoise_net.' keys: the two files are swapped"
        )
    shape = _encoder_shape(segmentation)
    prediction = _need(segmentation, "denoise_net.decoder.linear_pred.weight")
    width, classes = int(prediction.shape[1]), int(prediction.shape[0])
    channels = int(_need(fusion, "conv1_ir.weight").shape[0])
    growth = int(_need(fusion, "DRDB1.Dcov1.weight").shape[0])
    network = SegMiF(shape, classes, channels=channels, growth=growth, head_width=width)
    wanted = network.state_dict()
    loaded: dict[str, Tensor] = {}
    dropped = []
    for rename, state in ((_fusion_key, fusion), (_segmentation_key, segmentation)):
        for key, value in state.items():
            if key.startswith(UNUSED):
                dropped.append(key)
                continue
            name = rename(key)
            if name not in wanted:
                raise CheckpointError(f"unknown key {key!r} of shape {tuple(value.shape)}")
            if name.endswith("num_batches_tracked"):
                continue
            if wanted[name].shape != value.shape:
                raise CheckpointError(
                    f"key {key!r} has shape {tuple(value.shape)}, "
                    f"expected {tuple(wanted[name].shape)}"
                )
            loaded[name] = value
    missing = [
        name for name in wanted if name not in loaded and not name.endswith("num_batches_tracked")
    ]
    if missing:
        raise CheckpointError(f"the checkpoints lack what becomes {missing[0]!r}")
    network.load_state_dict(loaded, strict=False)
    return Imported(network.eval(), _backbone(shape), classes, tuple(sorted(dropped)))


def _need(state: State, key: str) -> Tensor:
    if key not in state:
        raise CheckpointError(f"key {key!r} is missing; is this the right file?")
    return state[key]


def _encoder_shape(state: State) -> EncoderShape:
    prefix = "denoise_net.encoder."
    dims: list[int] = []
    depths: list[int] = []
    reductions: list[int] = []
    for stage in range(1, 5):
        dims.append(int(_need(state, f"{prefix}patch_embed{stage}.proj.weight").shape[0]))
        found = {
            int(match.group(1))
            for key in state
            if (match := re.match(rf"denoise_net\.encoder\.block{stage}\.(\d+)\.", key))
        }
        depths.append(len(found))
        reduce = state.get(f"{prefix}block{stage}.0.attn.sr.weight")
        reductions.append(1 if reduce is None else int(reduce.shape[-1]))
    if tuple(depths) not in _DEPTHS:
        raise CheckpointError(
            f"encoder depths {tuple(depths)} belong to no backbone, known: {sorted(_DEPTHS)}"
        )
    return EncoderShape(
        dims=(dims[0], dims[1], dims[2], dims[3]),
        depths=(depths[0], depths[1], depths[2], depths[3]),
        reductions=(reductions[0], reductions[1], reductions[2], reductions[3]),
        heads=(1, 2, 5, 8),
    )


def _backbone(shape: EncoderShape) -> str:
    name = _DEPTHS[shape.depths]
    return ("b0" if shape.dims[0] == 32 else "b1") if name == "b0/b1" else name


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
    rules = (
        (r"denoise_net\.decoder\.linear_c([1-4])\.proj\.", "head.projections.{}."),
        (r"denoise_net\.encoder\.patch_embed([1-4])\.", "encoder.patch_embeds.{}."),
        (r"denoise_net\.encoder\.block([1-4])\.", "encoder.stages.{}."),
        (r"denoise_net\.encoder\.norm([1-4])\.", "encoder.norms.{}."),
    )
    for pattern, template in rules:
        if match := re.match(pattern, key):
            rest = key[match.end() :].replace("dwconv.dwconv.", "dwconv.")
            return template.format(int(match[1]) - 1) + rest
    for old, new in (
        ("denoise_net.decoder.linear_fuse.conv.", "head.fuse."),
        ("denoise_net.decoder.linear_fuse.bn.", "head.norm."),
        ("denoise_net.decoder.linear_pred.", "head.predict."),
    ):
        if key.startswith(old):
            return new + key[len(old) :]
    return key
