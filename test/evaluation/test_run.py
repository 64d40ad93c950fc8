# SPDX-License-Identifier: Apache-2.0
"""One bag evaluated for real: figures known in closed form, and every way a bag can be bad."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from drive_bags import (
    PERIOD_NS,
    PERSON,
    ROAD,
    START_NS,
    drive_bag,
    rewritten,
    swapped_stamps,
    truth,
)
from tiny_model import write_tiny_bundle

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.engines.base import EngineError
from segmif_ros.evaluation.context import EvaluationContext
from segmif_ros.evaluation.run import DriveError, evaluate_bag
from segmif_ros.evaluation.settings import DriveSettings
from segmif_ros.evaluation.state import BagResult
from segmif_ros.recordings.bags import (
    IMAGE,
    BagReader,
    header_stamp_ns,
    message_types,
    with_header_stamp,
)
from segmif_ros.recordings.writer import TOPICS, BagWriter
from segmif_ros.report.score_tables import table
from segmif_ros.report.summary import summarize


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("small"), (64, 96))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drive_bag(tmp_path_factory.mktemp("bags") / "labelled", 20, labels=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drive_bag(tmp_path_factory.mktemp("bags") / "plain", 20)


def evaluated(bag: Path, bundle: Path, out_bag: Path | None = None, **options) -> BagResult:
    options.setdefault("engine", "onnxruntime")
    bench = EvaluationContext(DriveSettings(model=str(bundle), **options))
    try:
        return evaluate_bag(bag, bench, out_bag=out_bag)
    finally:
        bench.close()


def report_of(bag: Path, bundle: Path, **options) -> dict:
    bench = EvaluationContext(DriveSettings(model=str(bundle), engine="onnxruntime", **options))
    result = evaluate_bag(bag, bench)
    bench.close()
    loaded = Bundle.load(bundle)
    return summarize([result], loaded, bench.protocols, bench.settings, wall_s=1.0)


def test_labels_of_a_topic_score_all_three_rows(labelled, bundle):
    report = report_of(labelled, bundle, label_topic=TOPICS["labels"], protocol="fmb14")
    rows = report["segmentation"]["rows"]
    assert {name: row["all"]["frames"] for name, row in rows.items()} == {
        "visible": 20,
        "thermal": 20,
        "fused": 20,
    }
    assert rows["fused"]["all"]["protocols"]["fmb14"] == 1.0
    assert rows["thermal"]["all"]["protocols"]["fmb14"] == 1.0
    # Without thermal the tiny network predicts road everywhere.
    share = (truth(0) == ROAD).mean()
    assert rows["visible"]["all"]["per_class"]["person"] == 0.0
    assert rows["visible"]["all"]["per_class"]["road"] == pytest.approx(share)
    matrix = np.array(report["segmentation"]["confusion"]["matrix"])
    assert matrix.sum() == 20 * truth(0).size
    assert matrix[PERSON, PERSON] == 20 * (truth(0) == PERSON).sum()


def test_figures_without_labels_are_those_of_the_pictures(plain, bundle):
    report = report_of(plain, bundle, metrics_every=5)
    assert report["pairs"]["evaluated"] == 20
    assert report["pairs"]["lost_share"] == 0.0
    assert report["pairs"]["dropped"] == {}
    # One in four rows is counted, which is exact for a square of 24 rows that begins at row 20.
    assert report["classes_seen"]["person"] == pytest.approx((truth(0) == PERSON).mean())
    rows = report["fusion"]["all"]
    assert rows["fused"]["frames"] == 4
    assert rows["fused"]["SSIM"] == rows["visible"]["SSIM"]  # its fused image is the visible one
    assert report["segmentation"] is None
    assert len(report["frames"]["rows"]) == 20
    columns = report["frames"]["columns"]
    last = dict(zip(columns, report["frames"]["rows"][-1], strict=True))
    assert last["t_s"] == pytest.approx(19 * PERIOD_NS / 1e9)
    assert last["visible_SD"] == last["fused_SD"]
    assert last["miou"] is None


def test_the_same_drive_gives_the_same_scores(plain, bundle):
    first, second = (evaluated(plain, bundle) for _ in range(2))
    assert first.scores == second.scores
    assert first.pairs == second.pairs
    assert first.pictures == second.pictures


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_both_storages_say_the_same(storage, plain, bundle, tmp_path):
    other = drive_bag(tmp_path / "other", 20, storage=storage, compress=False)
    assert evaluated(other, bundle).scores == evaluated(plain, bundle).scores


def test_compressed_images_are_decoded_as_in_the_node(plain, bundle, tmp_path):
    store, out = message_types(), tmp_path / "jpeg"
    kind = "sensor_msgs/msg/CompressedImage"
    with BagReader(plain) as reader, BagWriter(out) as bag:
        for topic in (TOPICS["rgb"], TOPICS["thermal"]):
            bag.add_topic(f"{topic}/compressed", kind)
        for message in reader.messages():
            image = store.deserialize_cdr(message.cdr, IMAGE)
            pixels = image.data.reshape(image.height, image.width, -1)
            _, png = cv2.imencode(".png", pixels[..., ::-1] if pixels.shape[2] == 3 else pixels)
            name = "bgr8" if pixels.shape[2] == 3 else "mono8"
            packed = store.types[kind](image.header, f"{name}; png compressed", png.ravel())
            cdr = bytes(store.serialize_cdr(packed, kind))
            bag.write(f"{message.topic}/compressed", message.time_ns, cdr)
    assert evaluated(out, bundle).scores == evaluated(plain, bundle).scores


def test_a_label_with_a_stamp_far_ahead_costs_itself_alone(labelled, bundle, tmp_path):
    labels = 0

    def change(message, _):
        nonlocal labels
        if message.topic != TOPICS["labels"]:
            return message.time_ns, message.cdr
        labels += 1
        ahead_ns = 10**12 if labels == 5 else 0
        return message.time_ns, with_header_stamp(
            message.cdr, header_stamp_ns(message.cdr) + ahead_ns
        )

    bag = rewritten(labelled, tmp_path / "ahead", change)
    found = report_of(bag, bundle, label_topic=TOPICS["labels"])["segmentation"]
    assert found["rows"]["fused"]["all"]["frames"] == 19
    assert found["problems"] == {"a label image has a stamp long after it was recorded": 1}


def test_pictures_too_small_for_fusion_metrics_are_evaluated_without(bundle, tmp_path):
    def change(message, _):
        image = message_types().deserialize_cdr(message.cdr, message.type)
        channels = image.step // image.width
        rows = image.data.reshape(image.height, image.width, channels)[:16, :24]
        image.height, image.width, image.step = 16, 24, 24 * channels
        image.data = np.ascontiguousarray(rows).reshape(-1)
        return message.time_ns, bytes(message_types().serialize_cdr(image, message.type))

    bag = rewritten(drive_bag(tmp_path / "whole", 6), tmp_path / "small", change)
    report = report_of(bag, bundle)
    assert report["pairs"]["evaluated"] == 6
    assert report["fusion_frames"]["rows"] == []


def test_a_folder_of_labels_is_found_by_number_and_by_stamp(plain, bundle, tmp_path):
    by_number, by_stamp, by_parts = (tmp_path / name for name in ("number", "stamp", "parts"))
    for folder in (by_number, by_stamp, by_parts):
        folder.mkdir()
    for index in (3, 11):
        stamp = START_NS + index * PERIOD_NS
        seconds, nanoseconds = divmod(stamp, 1_000_000_000)
        cv2.imwrite(str(by_number / f"frame_{index:06d}.png"), truth(index))
        cv2.imwrite(str(by_stamp / f"{stamp}.png"), truth(index))
        cv2.imwrite(str(by_parts / f"{seconds}_{nanoseconds:09d}.png"), truth(index))
    for folder in (by_number, by_stamp, by_parts):
        report = report_of(plain, bundle, labels=str(folder), protocol="fmb14")
        fused = report["segmentation"]["rows"]["fused"]["all"]
        assert fused["frames"] == 2
        assert fused["protocols"]["fmb14"] == 1.0


def test_labels_with_ids_of_another_list_are_reported_and_left_out(plain, bundle, tmp_path):
    for number in range(4):
        ids = truth(number)
        if number == 2:
            ids[0, 0] = 77
        cv2.imwrite(str(tmp_path / f"{number}.png"), ids)
    report = report_of(plain, bundle, labels=str(tmp_path), protocol="fmb14")
    assert report["segmentation"]["rows"]["fused"]["all"]["frames"] == 3
    (problem,) = report["segmentation"]["problems"]
    assert "labels hold id 77, which is no class of 'fmb15'" in problem


def test_labels_of_another_size_fit_by_shape_or_are_reported(plain, bundle, tmp_path):
    half, odd = tmp_path / "half", tmp_path / "odd"
    half.mkdir(), odd.mkdir()
    small = cv2.resize(truth(0), (48, 32), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(half / "0.png"), small)
    cv2.imwrite(str(odd / "0.png"), truth(0)[:, :70])
    report = report_of(plain, bundle, labels=str(half), protocol="fmb14")
    assert report["segmentation"]["rows"]["fused"]["all"]["pixels"] == small.size
    assert report["segmentation"]["rows"]["fused"]["all"]["protocols"]["fmb14"] == 1.0
    report = report_of(plain, bundle, labels=str(odd), protocol="fmb14")
    assert report["segmentation"]["rows"] == {}
    assert "labels of 70x64 pixels for images of 96x64" in report["notes"][0]


@pytest.mark.parametrize(("suffix", "frames"), [(".png", 20), (".jpg", 0)])
def test_compressed_labels_count_where_they_keep_their_ids(
    suffix, frames, labelled, bundle, tmp_path
):
    store, out = message_types(), tmp_path / "packed"
    kind = "sensor_msgs/msg/CompressedImage"
    with BagReader(labelled) as reader, BagWriter(out) as bag:
        for topic in (TOPICS["rgb"], TOPICS["thermal"]):
            bag.add_topic(topic, IMAGE)
        bag.add_topic("/truth/compressed", kind)
        for message in reader.messages():
            if message.topic != TOPICS["labels"]:
                bag.write(message.topic, message.time_ns, message.cdr)
                continue
            image = store.deserialize_cdr(message.cdr, IMAGE)
            _, packed = cv2.imencode(suffix, image.data.reshape(image.height, image.width))
            label = store.types[kind](image.header, f"mono8; {suffix[1:]}", packed.ravel())
            cdr = bytes(store.serialize_cdr(label, kind))
            bag.write("/truth/compressed", message.time_ns, cdr)
    report = report_of(out, bundle, label_topic="/truth/compressed", protocol="fmb14")
    rows = report["segmentation"]["rows"]
    assert rows.get("fused", {}).get("all", {"frames": 0})["frames"] == frames
    assert any("JPEG does not keep" in note for note in report["notes"]) == (frames == 0)


def test_boxes_score_the_pixels_and_objects_of_the_named_classes(plain, bundle, tmp_path):
    rows, columns = np.nonzero(truth(0) == PERSON)
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    box = ((left + right) / 192, (top + bottom) / 128, (right - left) / 96, (bottom - top) / 64)
    person = " ".join(map(str, box))
    (tmp_path / "0.txt").write_text(f"0 {person}\n2 {person}\n1 0.9 0.9 0.1 0.1\n")
    (tmp_path / "1.txt").write_text("not a box\n")
    (tmp_path / "2.txt").write_text("0 0.9 0.1 0.1 0.1\n")
    report = report_of(plain, bundle, boxes=str(tmp_path), box_classes=("person", "-", "road"))
    found = report["boxes"]["fused"]["all"]
    # A square is as wide as two people, so it is cut; one of the halves overlaps the box enough.
    assert found["person"] == {
        **{"boxes": 2, "box_recall": 0.5, "box_precision": 0.5, "average_precision": 0.125},
        **{"object_precision": 0.25, "object_recall": 0.5},
    }
    assert set(found["road"]) == {"boxes", "box_recall", "box_precision"}  # surface, no object
    visible = report["boxes"]["visible"]["all"]["person"]
    assert visible["box_recall"] == visible["average_precision"] == 0.0
    assert "is no box" in report["notes"][0]
    lines = [line.split() for line in table(report).splitlines()]
    (line,) = (line for line in lines if line[:2] == ["fused", "person"])
    assert line[-3:] == ["0.125", "0.500", "0.250"]


def test_stamps_out_of_order_are_counted_and_the_rest_goes_on(plain, bundle, tmp_path):
    result = evaluated(swapped_stamps(plain, tmp_path / "swapped"), bundle)
    assert result.status == "ok"
    assert result.pairs["dropped"]["rgb.reordered"] == 2
    assert result.pairs["evaluated"] == 18
    assert result.sync["intervals"]["rgb"]["out_of_order"] == 2


def test_one_camera_alone_is_skipped_with_the_reason(plain, bundle, tmp_path):
    topic = TOPICS["rgb"]
    alone = rewritten(
        plain, tmp_path / "alone", lambda m, _: (m.time_ns, m.cdr) if m.topic == topic else None
    )
    result = evaluated(alone, bundle)
    assert result.status == "skipped"
    assert "only one camera" in result.reason
    assert topic in result.reason


def test_a_missing_topic_lists_what_is_there_and_the_nearest(plain, bundle):
    result = evaluated(plain, bundle, rgb_topic="/rgb/image_rawe")
    assert result.status == "skipped"
    assert "did you mean /rgb/image_raw" in result.reason
    assert TOPICS["thermal"] in result.reason


def test_an_unexpected_error_in_a_bag_is_its_own_reason(plain, bundle, monkeypatch, caplog):
    def broken(*_args, **_options):
        raise cv2.error("inconvertible")

    monkeypatch.setattr("segmif_ros.evaluation.scores.DriveScores.add", broken)
    result = evaluated(plain, bundle)
    assert result.status == "skipped"
    assert "not foreseen: error: inconvertible" in result.reason
    assert "Traceback" in caplog.text


def test_cameras_that_never_fit_in_time_are_skipped(bundle, tmp_path):
    late = drive_bag(tmp_path / "late", 10, thermal_late_ns=10_000_000_000)
    result = evaluated(late, bundle)
    assert result.status == "skipped"
    assert "within 30 ms" in result.reason


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_truncated_bag_is_evaluated_up_to_the_cut(storage, bundle, tmp_path):
    bag = drive_bag(tmp_path / "cut", 60, storage=storage, compress=False)
    (data,) = [file for file in bag.iterdir() if file.suffix in (".mcap", ".db3")]
    content = data.read_bytes()
    data.write_bytes(content[: len(content) // 2])
    result = evaluated(bag, bundle)
    assert result.status == "partial"
    assert 25 <= result.pairs["evaluated"] <= 30
    received = result.pairs["received"]
    assert f"{received['rgb'] + received['thermal']} messages in 1." in result.reason
    data.write_bytes(content[:2000])
    result = evaluated(bag, bundle)
    assert result.status == "skipped"
    assert "cannot be read: cut." in result.reason
    assert result.scores is None


@pytest.mark.parametrize(("compress", "size"), [(True, 6_000), (False, 60_000)])
def test_damage_on_the_way_leaves_what_can_be_read(compress, size, bundle, tmp_path):
    """A damaged chunk costs its own messages, whether or not its compression notices."""
    bag = drive_bag(tmp_path / "hurt", 200, compress=compress)
    (data,) = bag.glob("*.mcap")
    content = bytearray(data.read_bytes())
    middle = 3 * len(content) // 10
    content[middle : middle + size] = bytes(size)
    data.write_bytes(content)
    result = evaluated(bag, bundle)
    assert result.status == "partial"
    assert "damaged" in result.reason
    assert 0 < result.pairs["evaluated"] < 200


def test_an_unreadable_message_is_counted(plain, bundle, tmp_path):
    def change(message, number):
        cdr = message.cdr[:40] if number == 5 else message.cdr
        return message.time_ns, cdr

    result = evaluated(rewritten(plain, tmp_path / "short", change), bundle)
    assert result.status == "ok"
    assert result.pairs["evaluated"] == 19
    assert sum(n for key, n in result.pairs["dropped"].items() if "conversion" in key) == 1


def test_results_lie_in_a_bag_beside_the_inputs(plain, bundle, tmp_path):
    out = tmp_path / "results"
    result = evaluated(plain, bundle, out)
    assert result.bag == str(out)
    assert [p.name for p in tmp_path.iterdir()] == ["results"]
    with BagReader(out) as reader:
        counts = {topic.name: topic.count for topic in reader.summary().topics}
        fused = list(reader.messages({"/segmif/output/fused"}))
        rgb = list(reader.messages({TOPICS["rgb"]}))
        masks = list(reader.messages({"/segmif/output/mask"}))
    assert counts == {
        TOPICS["rgb"]: 20,
        TOPICS["thermal"]: 20,
        "/segmif/output/labels": 1,
        **{
            f"/segmif/output/{name}": 20
            for name in (
                *("fused", "mask", "confidence", "overlay"),
                *("objects", "detections", "temperature"),
            )
        },
    }
    stamps = [header_stamp_ns(message.cdr) for message in fused]
    assert stamps == [START_NS + index * PERIOD_NS for index in range(20)]
    assert stamps == [header_stamp_ns(message.cdr) for message in rgb]
    mask = message_types().deserialize_cdr(masks[7].cdr, IMAGE)
    np.testing.assert_array_equal(mask.data.reshape(64, 96), truth(7))
    # The cameras' images are there too, so it is a drive like the one it came from.
    assert evaluated(out, bundle).scores == result.scores


def test_a_bag_in_the_way_is_not_replaced_by_something_else(plain, bundle, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("keep me")
    result = evaluated(plain, bundle, out)
    assert result.status == "skipped"
    assert "exists already" in result.reason
    assert (out / "notes.txt").read_text() == "keep me"


def test_a_missing_folder_of_labels_is_an_error_not_a_bad_bag(plain, bundle, tmp_path):
    with pytest.raises(DriveError, match="is no folder"):
        evaluated(plain, bundle, labels=str(tmp_path / "nowhere"), protocol="fmb14")


def test_a_drive_is_evaluated_with_the_precision_of_the_vehicle(bundle):
    with pytest.raises(BundleError, match=r"has no 'int8' model.*segmif quantise"):
        EvaluationContext(
            DriveSettings(model=str(bundle), engine="onnxruntime", engine_precision="int8")
        )
    with pytest.raises(EngineError, match="OpenVINO finds no device 'NPU'"):
        EvaluationContext(DriveSettings(model=str(bundle), engine="openvino", engine_device="NPU"))


def test_ctrl_c_keeps_what_was_counted(plain, bundle, tmp_path):
    bench = EvaluationContext(DriveSettings(model=str(bundle), engine="onnxruntime"))

    def press(pairs, _):
        if pairs == 8:
            raise KeyboardInterrupt

    result = evaluate_bag(plain, bench, out_bag=tmp_path / "results", progress=press)
    bench.close()
    assert (result.status, result.reason, result.interrupted) == ("partial", "interrupted", True)
    assert result.pairs["evaluated"] == 8
    assert list(tmp_path.iterdir()) == []  # a bag of part of a drive must not look whole


def test_limit_evaluates_the_first_pairs(plain, bundle):
    result = evaluated(plain, bundle, limit=7)
    assert result.status == "ok"
    assert result.pairs["evaluated"] == result.pairs["expected"] == 7


def test_a_copy_elsewhere_is_the_same_drive(plain, bundle, tmp_path):
    shutil.copytree(plain, tmp_path / "copy")
    assert evaluated(tmp_path / "copy", bundle).scores == evaluated(plain, bundle).scores
