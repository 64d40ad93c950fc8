# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmif_ros.bundle import LabelClass
from segmif_ros.datasets.classes import load_class_list, load_classes, shipped_lists
from segmif_ros.datasets.protocol import default_protocol, load_protocol, protocol_names

FMB_NAMES = (
    "unlabelled", "road", "sidewalk", "building", "traffic light", "traffic sign", "vegetation",
    "sky", "person", "car", "truck", "bus", "motorcycle", "bicycle", "pole",
)  # fmt: skip


@pytest.mark.parametrize("name", shipped_lists())
def test_every_shipped_list_counts_its_ids_from_0_and_has_colours_of_its_own(name: str) -> None:
    found = load_class_list(name)
    assert found.name == name
    assert [label.id for label in found.classes] == list(range(len(found.classes)))
    assert len({label.color for label in found.classes}) == len(found.classes)
    assert found.protocols


@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_counts_classes_that_exist(name: str) -> None:
    protocol = load_protocol(name)
    ids = {label.id for label in protocol.classes}
    assert protocol.name == name
    assert set(protocol.counted) <= ids
    assert not set(protocol.counted) & set(protocol.ignored)
    assert {254, 255} <= set(protocol.ignored)
    assert protocol.about


def test_the_names_say_how_many_classes_are_counted() -> None:
    counts = {name: len(load_protocol(name).counted) for name in protocol_names()}
    assert counts == {
        "fmb15": 15, "fmb14": 14, "fmb13": 13, "fmb8": 8, "mfnet9": 9, "mfnet8": 8,
        "mfnet8-objects": 8, "mfnet3": 3, "msrs9": 9, "msrs8": 8, "pst900": 5, "pst900-objects": 4,
    }  # fmt: skip


def test_the_protocols_of_fmb_differ_in_unlabelled_and_bicycle() -> None:
    names = [label.name for label in load_classes("fmb15")]
    assert tuple(names) == FMB_NAMES
    fmb15, fmb14, fmb13, fmb8 = (load_protocol(f"fmb{n}") for n in (15, 14, 13, 8))
    assert {names[i] for i in set(fmb15.counted) - set(fmb14.counted)} == {"unlabelled"}
    assert {names[i] for i in set(fmb14.counted) - set(fmb13.counted)} == {"bicycle"}
    assert [names[i] for i in fmb8.counted] == [
        "building", "traffic light", "traffic sign", "vegetation", "person", "car", "truck", "pole",
    ]  # fmt: skip
    labels = np.array([[0, 1, 13, 254, 255]], np.uint8)
    assert fmb15.truth(labels).tolist() == [[0, 1, 13, 255, 255]]
    assert fmb13.truth(labels).tolist() == [[255, 1, 13, 255, 255]]


def test_the_two_eights_of_mfnet_leave_out_different_classes() -> None:
    names = [label.name for label in load_classes("mfnet9")]
    missing = {
        name: {names[i] for i in set(range(9)) - set(load_protocol(name).counted)}
        for name in ("mfnet8", "mfnet8-objects", "msrs8")
    }
    assert missing == {
        "mfnet8": {"guardrail"}, "mfnet8-objects": {"unlabelled"}, "msrs8": {"guardrail"},
    }  # fmt: skip


def test_answers_in_other_classes_are_translated() -> None:
    protocol = load_protocol("mfnet3")
    fmb15 = load_classes("fmb15")
    table = protocol.prediction_table(fmb15)
    mask = np.array([[9, 8, 13, 12, 1, 0, 255]], np.uint8)
    assert table[mask].tolist() == [[1, 2, 3, 3, 0, 0, 255]]
    assert np.array_equal(
        load_protocol("fmb14").prediction_table(fmb15), np.arange(256, dtype=np.uint8)
    )


def test_annotations_that_another_list_has_no_class_for_label_only_what_is_certain() -> None:
    table = load_class_list("mfnet9").truth_table("fmb15")
    assert table[:9].tolist() == [254, 9, 8, 13, 254, 254, 254, 254, 254]
    assert set(table[9:].tolist()) == {255}
    # A road of FMB may be a bump or a curve of MFNet: nothing is known.
    assert load_class_list("fmb15").truth_table("mfnet9")[1] == 255


def test_the_default_of_fmb_leaves_unlabelled_out() -> None:
    assert default_protocol("fmb15").name == "fmb14"
    assert default_protocol("mfnet9").name == "mfnet9"


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no protocol 'fmb12', expected one of .*fmb14"):
        load_protocol("fmb12")
    with pytest.raises(ValueError, match="'pst900' cannot be read as 'mfnet9'"):
        load_class_list("pst900").truth_table("mfnet9")
    own = (LabelClass(0, "floor", (0, 0, 0)), LabelClass(1, "valve", (9, 9, 9)))
    with pytest.raises(ValueError, match=r"2 classes \(floor, valve\) .* protocol 'mfnet3'"):
        load_protocol("mfnet3").prediction_table(own)


def test_a_file_of_ones_own_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text(
        "name: plant\nignore: [0, 255]\nclasses:\n"
        "  - {id: 0, name: floor, color: [0, 0, 0]}\n"
        "  - {id: 1, name: valve, color: [255, 0, 0]}\n"
    )
    assert load_protocol(str(path)).counted == (1,)
    path.write_text(
        path.read_text() + "protocols:\n  all: {counted: [0, 1]}\n  strict: {counted: [1, 2]}\n"
    )
    assert load_protocol(str(path)).name == "all"
    with pytest.raises(ValueError, match="'strict' counts id 2"):
        load_protocol(f"{path}:strict")
    with pytest.raises(ValueError, match="'plant' has no protocol 'loose', only all, strict"):
        load_protocol(f"{path}:loose")
    path.write_text(path.read_text().replace("{counted: [1, 2]}", "7"))
    with pytest.raises(ValueError, match=r"no class list \(protocols\[...\] of .*got 'int'"):
        load_protocol(f"{path}:strict")
    path.write_text("- 1\n")
    with pytest.raises(ValueError, match="no class list"):
        load_protocol(str(path))


def test_ids_that_no_list_knows_are_named() -> None:
    labels = np.array([[0, 8, 14, 15, 200, 254, 255]], np.uint8)
    assert load_class_list("fmb15").unknown_ids(labels) == (15, 200)
