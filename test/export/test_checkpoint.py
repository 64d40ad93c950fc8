# SPDX-License-Identifier: Apache-2.0
"""Released checkpoints: read as they are, or refused in one line that names the key."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest
import torch
from reference_weights import shapes
from released_checkpoint import State, network, states

from segmif_ros.export.checkpoint import (
    BACKBONES,
    CheckpointError,
    import_states,
    read_state,
    released_name,
)
from segmif_ros.network.segmif import SegMiF


@pytest.fixture(scope="module")
def made() -> SegMiF:
    return network("b0")


@pytest.fixture
def pair(made: SegMiF) -> tuple[State, State]:
    return states(made)


@pytest.mark.parametrize(
    ("backbone", "listing"), [("b1", "state_dict_mit_b1.txt"), ("b3", "state_dict_mit_b3.txt")]
)
def test_names_and_shapes_are_the_released_ones(
    shared_reference: Path, backbone: str, listing: str
) -> None:
    with torch.device("meta"):
        ours = SegMiF(BACKBONES[backbone], 9).state_dict()
    got = {released_name(name): tuple(value.shape) for name, value in ours.items()}
    expected = {
        key: shape
        for file in ("state_dict_fusion.txt", listing)
        for key, shape in shapes((shared_reference / file).read_text()).items()
        if not key.startswith(("ffm2.", "denoise_net.classifier."))
    }
    assert got == expected


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_backbone_and_classes_follow_from_the_shapes(backbone: str) -> None:
    with torch.device("meta"):
        plain = SegMiF(BACKBONES[backbone], 7)
        fusion, segmentation = states(plain)
        imported = import_states(fusion, segmentation)
    assert (imported.backbone, imported.classes) == (backbone, 7)
    assert imported.network.encoder.shape == BACKBONES[backbone]


def test_every_weight_arrives(made: SegMiF, pair: tuple[State, State]) -> None:
    got = import_states(*pair).network.state_dict()
    for name, value in made.state_dict().items():
        assert torch.equal(got[name], value), name


def test_unused_parts_are_named_in_the_log_and_dropped(
    pair: tuple[State, State], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        imported = import_states(*pair)
    assert "left out 18 tensors" in caplog.text
    assert "denoise_net.classifier, ffm2" in caplog.text
    assert len(imported.dropped) == 18


def test_old_checkpoints_lack_the_batch_counter(pair: tuple[State, State]) -> None:
    del pair[1]["denoise_net.decoder.linear_fuse.bn.num_batches_tracked"]
    assert import_states(*pair).backbone == "b0"


def test_a_missing_key_is_named_as_in_the_file(pair: tuple[State, State]) -> None:
    del pair[0]["DRDB2.Dcov3.weight"]
    with pytest.raises(
        CheckpointError, match=r"'DRDB2.Dcov3.weight' is missing, expected shape 32x128x3x3"
    ):
        import_states(*pair)


def test_a_wrong_shape_is_named_with_both_shapes(pair: tuple[State, State]) -> None:
    pair[0]["conv2.weight"] = torch.zeros(64, 64, 3, 3)
    with pytest.raises(
        CheckpointError, match=r"'conv2.weight' has shape 64x64x3x3, expected 64x128x3x3"
    ):
        import_states(*pair)


def test_an_unknown_key_is_named_with_its_shape(pair: tuple[State, State]) -> None:
    pair[1]["denoise_net.auxiliary.weight"] = torch.zeros(3, 4)
    with pytest.raises(CheckpointError, match=r"'denoise_net.auxiliary.weight' of shape 3x4"):
        import_states(*pair)


def test_depths_of_no_backbone_are_refused(pair: tuple[State, State]) -> None:
    fusion, segmentation = pair
    cut = {k: v for k, v in segmentation.items() if ".block3.1." not in k}
    with pytest.raises(CheckpointError, match=r"depths \(2, 2, 1, 2\) belong to no backbone"):
        import_states(fusion, cut)


def test_a_width_of_no_backbone_is_refused(pair: tuple[State, State]) -> None:
    pair[1]["denoise_net.encoder.patch_embed1.proj.weight"] = torch.zeros(48, 3, 7, 7)
    with pytest.raises(CheckpointError, match="shape 48x3x7x7, expected 64x3x7x7"):
        import_states(*pair)


def test_swapped_files_are_recognised(pair: tuple[State, State]) -> None:
    with pytest.raises(CheckpointError, match="the two files are swapped"):
        import_states(pair[1], pair[0])


@pytest.mark.parametrize(("place", "name"), [(0, "segmentation"), (1, "fusion")])
def test_one_file_given_twice_is_recognised(
    pair: tuple[State, State], place: int, name: str
) -> None:
    with pytest.raises(CheckpointError, match=f"the {name} checkpoint has no key that starts"):
        import_states(pair[place], pair[place])


def test_a_data_parallel_half_precision_file_is_read(
    made: SegMiF, pair: tuple[State, State], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = []
    for name, state in zip(("fusion", "segmentation"), pair, strict=True):
        half = {f"module.{k}": v.half() if v.is_floating_point() else v for k, v in state.items()}
        paths.append(tmp_path / f"{name}.pth")
        torch.save(half, paths[-1])
    with caplog.at_level(logging.INFO):
        imported = import_states(*(read_state(path) for path in paths))
    assert "in half precision, converted to float32" in caplog.text
    for name, value in made.state_dict().items():
        if value.is_floating_point():
            got = imported.network.state_dict()[name]
            assert got.dtype == torch.float32
            torch.testing.assert_close(got, value, rtol=1e-3, atol=1e-6)


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("owned"),))


def test_a_pickle_with_code_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Hostile()}, "zip.pth")
    Path("raw.pth").write_bytes(pickle.dumps(Hostile()))
    for name in ("zip.pth", "raw.pth"):
        with pytest.raises(CheckpointError, match="files that contain code are refused"):
            read_state(Path(name))
    assert not Path("owned").exists()


def test_a_truncated_file_is_refused(pair: tuple[State, State], tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    torch.save(pair[0], path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"cut.pth cannot be read as plain weights"):
        read_state(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": {"a": torch.zeros(1)}}, "'a' is dict, expected a tensor"),
        ({"state_dict": {}}, "holds dict, expected a state dict"),
        ({}, "holds dict, expected a state dict"),
        (torch.zeros(3), "holds Tensor, expected a state dict"),
        ({"a.weight": torch.tensor([float("nan")])}, "'a.weight' holds values that are not finite"),
    ],
)
def test_what_is_no_state_dict_is_refused(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        read_state(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"missing\.pth is missing"):
        read_state(tmp_path / "missing.pth")
