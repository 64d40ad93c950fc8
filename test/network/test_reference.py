# SPDX-License-Identifier: Apache-2.0
"""The published network gives the published layout's numbers, stage by stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from reference_weights import CASES, inputs, shapes, weight
from torch.nn import functional as F

from segmif_ros.deploy.checkpoint import import_states
from segmif_ros.network.segmif import SegMiF
from segmif_ros.network.switches import Switches

CASE = "b1_96x128"
SIZE = (96, 128)


@pytest.fixture(scope="module")
def reference(shared_reference: Path) -> dict[str, np.ndarray]:
    return dict(np.load(shared_reference / f"{CASE}.npz"))


def released_states(folder: Path, case: str = CASE) -> list[dict[str, torch.Tensor]]:
    assert case in CASES
    return [
        {
            key: torch.from_numpy(weight(key, shape, case))
            for key, shape in shapes((folder / name).read_text()).items()
        }
        for name in ("state_dict_fusion.txt", "state_dict_mit_b1.txt")
    ]


@pytest.fixture(scope="module")
def network(shared_reference: Path) -> SegMiF:
    imported = import_states(*released_states(shared_reference))
    assert (imported.backbone, imported.classes) == ("b1", 9)
    assert all(key.startswith(("ffm2.", "denoise_net.classifier.")) for key in imported.dropped)
    assert len(imported.dropped) == 18
    return imported.network


@pytest.fixture(scope="module", params=["y", "red"])
def run(request: pytest.FixtureRequest, network: SegMiF) -> tuple[str, dict[str, torch.Tensor]]:
    """All tensors of one run, collected by hooks so that the network stays plain."""
    kind = request.param
    network.switches = Switches(visible_input="luma" if kind == "y" else "red")
    seen: dict[str, list[torch.Tensor]] = {}
    fusion = network.fusion

    def keep(name: str):
        return lambda _m, _i, out: seen.setdefault(name, []).append(out)

    hooks = [
        network.encoder.register_forward_hook(keep("encoder")),
        fusion.interaction.register_forward_hook(keep("hia")),
        fusion.dense[0].register_forward_hook(keep("drdb1")),
        fusion.dense[1].register_forward_hook(keep("drdb2")),
    ]
    ir, vis, mask2 = (torch.from_numpy(a) for a in inputs(*SIZE))
    with torch.no_grad():
        output = network(vis, ir, mask2)
    for hook in hooks:
        hook.remove()
    tensors = {
        "drdb1_ch8": seen["drdb1"][0][:, ::8],
        "drdb2_ch8": seen["drdb2"][0][:, ::8],
        "hia1_ir": seen["hia"][0][0],
        "hia1_vis": seen["hia"][0][1],
        "hia2_ir_ch8": seen["hia"][1][0][:, ::8],
        "hia2_vis_ch8": seen["hia"][1][1][:, ::8],
        f"fused_{kind}": output.luma,
        f"rgb_{kind}": output.rgb,
        f"logits_{kind}": output.logits,
    }
    guidance_maps, fused_maps = seen["encoder"]
    for i, features in enumerate(guidance_maps, 1):
        tensors[f"mask_c{i}"] = features
        tensors[f"up_c{i}_ch8"] = F.interpolate(features, size=SIZE, mode="bilinear")[:, ::8]
    for i, features in enumerate(fused_maps, 1):
        tensors[f"seg_c{i}"] = features
    return kind, tensors


TOLERANCES = {
    "mask_c": 5e-6,
    "up_c": 5e-6,
    "drdb": 5e-6,
    "hia": 1e-5,
    "fused": 1e-5,
    "rgb": 1e-5,
    "seg_c": 1.5e-4,
    "logits": 1e-4,
}


def test_every_stage_has_the_reference_numbers(
    run: tuple[str, dict[str, torch.Tensor]], reference: dict[str, np.ndarray]
) -> None:
    kind, tensors = run
    for name, tensor in tensors.items():
        if kind == "red" and name.rsplit("_", 1)[-1] != "red" and not name.startswith("mask_c"):
            continue  # the stored intermediate tensors belong to the luma run
        tolerance = next(t for prefix, t in TOLERANCES.items() if name.startswith(prefix))
        expected = reference[name]
        assert tensor.shape == expected.shape, name
        assert float(np.abs(tensor.numpy() - expected).max()) <= tolerance, name


def test_labels_agree_wherever_the_margin_is_clear(
    run: tuple[str, dict[str, torch.Tensor]], reference: dict[str, np.ndarray]
) -> None:
    kind, tensors = run
    logits = F.interpolate(tensors[f"logits_{kind}"], size=SIZE, mode="bilinear")
    labels = logits.argmax(dim=1).numpy()
    same = labels == reference[f"argmax_{kind}"]
    clear = reference[f"margin_{kind}"] >= 3e-4
    assert same[clear].all()
    assert same.mean() >= 0.999


def test_the_tolerances_can_tell_a_wrong_epsilon(
    network: SegMiF, reference: dict[str, np.ndarray]
) -> None:
    # A reference that cannot fail proves nothing: one epsilon off must show in stage 1.
    embed = network.encoder.patch_embeds[0]
    guide = torch.from_numpy(inputs(*SIZE)[2]).expand(-1, 3, -1, -1)
    with torch.no_grad():
        embed.norm.eps = 1e-6
        off = network.encoder(guide, stages=1)[0].numpy()
        embed.norm.eps = 1e-5
    assert float(np.abs(off - reference["mask_c1"]).max()) > 1e-4
