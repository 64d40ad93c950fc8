# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from dataset_layouts import SIZE, labels_of, rgb_of, thermal_of

from segmif_ros.datasets.bag import BagReading, open_bag
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.opening import open_dataset
from segmif_ros.datasets.sample import DatasetError
from segmif_ros.recordings.bags import IMAGE, BagReader, message_types
from segmif_ros.recordings.clips import StampedImage
from segmif_ros.recordings.writer import TOPICS, BagWriter, write_bag
from segmif_ros.registration import Calibration
from segmif_ros.thermal import ThermalNormaliser

START = 1_700_000_000_000_000_000
PERIOD = 100_000_000


@dataclass
class Drive:
    """Five pairs at 10 Hz, thermal 4 ms late; labels for some of them."""

    labelled: tuple[int, ...] = (1, 3)
    label_shift_ns: int = 0
    change: Callable[[StampedImage], StampedImage | None] = lambda item: item
    notes: tuple[str, ...] = field(default=())
    frames: int = 12

    def __iter__(self) -> Iterator[StampedImage]:
        items = []
        for number in range(5):
            time = number * PERIOD
            items.append(StampedImage("rgb", time, rgb_of(number)))
            items.append(StampedImage("thermal", time + 4_000_000, thermal_of(number)))
            if number in self.labelled:
                shown = time + self.label_shift_ns
                items.append(StampedImage("labels", shown, labels_of(number, 15)))
        changed = [item for item in map(self.change, items) if item is not None]
        return iter(sorted(changed, key=lambda item: item.time_ns))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_pairs_and_labels_come_by_their_stamps(tmp_path: Path, storage: str) -> None:
    write_bag(Drive(), tmp_path / "drive", storage=storage, start_ns=START)
    dataset = open_dataset("auto", tmp_path / "drive")
    assert (dataset.kind, len(dataset), dataset.notes) == ("bag", 5, ())
    assert [entry.labelled for entry in dataset] == [False, True, False, True, False]
    assert dataset[1].name == f"drive/{START + PERIOD}"
    for number in (3, 0, 4):
        sample = dataset[number]()
        assert np.array_equal(sample.rgb, rgb_of(number))
        assert np.array_equal(sample.thermal, thermal_of(number))
        assert (sample.labels is not None) == (number in (1, 3))
    labels = dataset[3]().labels
    assert labels is not None
    assert np.array_equal(labels, labels_of(3, 15))


def test_a_single_file_opens_as_well(tmp_path: Path) -> None:
    write_bag(Drive(), tmp_path / "drive", start_ns=START)
    (file,) = (tmp_path / "drive").glob("*.mcap")
    assert len(open_dataset("auto", file)) == 5


def test_lost_images_and_labels_of_no_pair_are_counted(tmp_path: Path) -> None:
    def change(item: StampedImage) -> StampedImage | None:
        lost = (("thermal", 2 * PERIOD + 4_000_000), ("rgb", 3 * PERIOD))
        return None if (item.camera, item.time_ns) in lost else item

    write_bag(Drive(change=change), tmp_path / "drive", start_ns=START)
    dataset = open_dataset("bag", tmp_path / "drive")
    assert [int(entry.name.split("/")[1]) - START for entry in dataset] == [0, PERIOD, 4 * PERIOD]
    assert dataset.notes == (
        "rgb images in no pair, no_partner: 1",
        "thermal images in no pair, surplus: 1",
        "label images with the stamp of no pair: 1",
    )


def test_label_stamps_may_be_rounded_but_not_wrong(tmp_path: Path) -> None:
    write_bag(Drive(label_shift_ns=900_000), tmp_path / "a", start_ns=START)
    assert sum(entry.labelled for entry in open_dataset("bag", tmp_path / "a")) == 2
    write_bag(Drive(label_shift_ns=20_000_000), tmp_path / "b", start_ns=START)
    dataset = open_dataset("bag", tmp_path / "b")
    assert sum(entry.labelled for entry in dataset) == 0
    assert dataset.notes == ("label images with the stamp of no pair: 2",)


def test_sixteen_bits_are_rendered_as_the_node_does(tmp_path: Path) -> None:
    def change(item: StampedImage) -> StampedImage:
        wide = item.image.astype(np.uint16) * 13 + 7000
        return item._replace(image=wide) if item.camera == "thermal" else item

    write_bag(Drive(change=change), tmp_path / "drive", start_ns=START)
    sample = open_dataset("bag", tmp_path / "drive")[0]()
    counts = thermal_of(0).astype(np.uint16) * 13 + 7000
    assert np.array_equal(sample.thermal, ThermalNormaliser().normalise(counts))


def test_a_calibration_registers_the_pairs(tmp_path: Path) -> None:
    shift = np.array([[1.0, 0.0, 6.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    write_bag(Drive(), tmp_path / "drive", start_ns=START)
    how = BagReading(calibration=Calibration(SIZE, SIZE, shift))
    dataset = open_bag(tmp_path / "drive", None, LabelReading.of("fmb15", None), how)
    sample = dataset[2]()
    assert np.array_equal(sample.thermal[:, 6:], thermal_of(2)[:, :-6])
    assert not sample.thermal[:, :6].any()


def test_a_mask_of_the_node_is_no_truth_unless_it_is_named(tmp_path: Path) -> None:
    from segmif_ros.recordings import writer

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(writer.TOPICS, "labels", "/segmif/output/mask")
        write_bag(Drive(), tmp_path / "drive", start_ns=START)
    assert not any(entry.labelled for entry in open_dataset("bag", tmp_path / "drive"))
    named = BagReading(label_topic="/segmif/output/mask")
    dataset = open_dataset("bag", tmp_path / "drive", bag=named)
    assert sum(entry.labelled for entry in dataset) == 2


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_compressed_labels_are_labels_where_they_keep_their_ids(tmp_path: Path, kind: str) -> None:
    """As `segmif evaluate` reads them; a bag of such labels must not count as one without."""
    write_bag(Drive(), tmp_path / "raw", start_ns=START)
    store, message_type = message_types(), "sensor_msgs/msg/CompressedImage"
    with BagReader(tmp_path / "raw") as reader, BagWriter(tmp_path / "drive") as bag:
        for camera in ("rgb", "thermal"):
            bag.add_topic(TOPICS[camera], IMAGE)
        bag.add_topic(f"{TOPICS['labels']}/compressed", message_type)
        for message in reader.messages():
            if message.topic != TOPICS["labels"]:
                bag.write(message.topic, message.time_ns, message.cdr)
                continue
            image: Any = store.deserialize_cdr(message.cdr, IMAGE)
            _, packed = cv2.imencode(f".{kind}", image.data.reshape(SIZE))
            label = store.types[message_type](image.header, f"mono8; {kind}", packed.ravel())
            cdr = bytes(store.serialize_cdr(label, message_type))
            bag.write(f"{TOPICS['labels']}/compressed", message.time_ns, cdr)
    dataset = open_dataset("auto", tmp_path / "drive")
    assert [entry.labelled for entry in dataset] == [False, True, False, True, False]
    if kind == "jpg":
        with pytest.raises(DatasetError, match="JPEG does not keep class ids"):
            dataset[3]()
    else:
        labels = dataset[3]().labels
        assert labels is not None
        assert np.array_equal(labels, labels_of(3, 15))


def test_bags_of_no_use_are_reported(tmp_path: Path) -> None:
    (tmp_path / "drive.mcap").write_bytes(b"no bag at all")
    with pytest.raises(DatasetError, match=r"drive\.mcap' cannot be read"):
        open_dataset("auto", tmp_path / "drive.mcap")
    write_bag(
        Drive(change=lambda item: item if item.camera == "rgb" else None),
        tmp_path / "one",
        start_ns=START,
    )
    with pytest.raises(DatasetError, match="only one camera"):
        open_dataset("auto", tmp_path / "one")
    late = Drive(
        change=lambda item: (
            item._replace(time_ns=item.time_ns + 45_000_000) if item.camera == "thermal" else item
        )
    )
    write_bag(late, tmp_path / "late", start_ns=START)
    with pytest.raises(DatasetError, match="with stamps within 30 ms"):
        open_dataset("auto", tmp_path / "late")
    with pytest.raises(DatasetError, match="no split 'train', it is not divided"):
        open_dataset("auto", tmp_path / "late", "train")


def test_labels_that_do_not_fit_are_reported_when_they_are_read(tmp_path: Path) -> None:
    def change(item: StampedImage) -> StampedImage:
        return item._replace(image=item.image[:20]) if item.camera == "labels" else item

    write_bag(Drive(change=change), tmp_path / "drive", start_ns=START)
    dataset = open_dataset("auto", tmp_path / "drive")
    with pytest.raises(DatasetError, match=r"labels of \(20, 64\) uint8, RGB image of \(48, 64\)"):
        dataset[1]()
