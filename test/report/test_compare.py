# SPDX-License-Identifier: Apache-2.0
"""Two reports side by side: what may be compared, by how much they differ, how sure that is."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from made_report import made_report, source

from segmif_ros.report.compare import (
    Comparison,
    PairedDifference,
    compare,
    direction,
    interval,
)
from segmif_ros.report.compare_page import compare_page, compare_text


def changed(**changes: Any) -> dict[str, Any]:
    return {**made_report(), **changes}


def paired(found: Comparison, name: str, bag: str = "all") -> PairedDifference:
    return next(each for each in found.paired if (each.name, each.bag) == (name, bag))


def test_a_report_equals_itself():
    found = compare(made_report(), made_report())
    assert found.objections == ()
    assert all(each.delta == 0 for each in found.differences)
    assert paired(found, "frame.miou").certain is False
    assert len(found.differences) > 50


def test_a_shift_is_found_pair_by_pair_and_in_the_whole():
    found = compare(made_report(), made_report(shift=-0.03))
    whole = found.find("miou")
    assert whole.name == "segmentation.fused.all.miou.fmb-14"
    assert whole.worsening == pytest.approx(0.03)
    miou = paired(found, "frame.miou")
    assert miou.pairs == 120
    assert miou.delta == pytest.approx(-0.03)
    assert miou.certain
    bag = paired(found, "frame.miou", "drive.mcap")
    assert (bag.pairs, bag.blocks) == (80, 8)
    assert paired(found, "frame.miou", "second.mcap").low is None, "4 blocks are too few"


def test_pairs_are_joined_by_their_stamps():
    """The first pair of the second report failed, so that its seconds begin one pair later."""
    start = 1_700_000_000_000_000_000
    first, second = made_report(), made_report()
    for report, lost in ((first, 0), (second, 1)):
        table = report["frames"]
        table["columns"].append("stamp_ns")
        for number, row in enumerate(table["rows"]):
            row.append(start + 100_000_000 * number)
        kept = [row for row in table["rows"] if row[1] == 0][lost:]
        for row in kept:
            row[0] = (row[-1] - kept[0][-1]) / 1e9
        table["rows"] = kept
    miou = paired(compare(first, second), "frame.miou")
    assert (miou.pairs, miou.delta) == (79, 0.0)


def test_noise_is_not_called_a_difference():
    other = made_report()
    rows = other["frames"]["rows"]
    noise = 0.1 * np.random.default_rng(7).standard_normal(len(rows))
    for row, error in zip(rows, noise - noise.mean() + 0.005, strict=True):
        row[-1] += error
    miou = paired(compare(made_report(), other), "frame.miou")
    assert not miou.certain
    assert miou.low < miou.delta < miou.high


def test_neighbouring_frames_are_one_sample():
    """A slow wave looks certain frame by frame; in blocks of its length it is not."""
    t = np.arange(2000) / 100.0
    wave = np.sin(t / 3.0) + 0.15
    fine = interval(wave, np.arange(2000))
    coarse = interval(wave, np.floor(t).astype(np.int64))
    assert coarse[1] - coarse[0] > 5 * (fine[1] - fine[0])


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(3)
    hits = 0
    for seed in range(200):
        values = np.repeat(generator.standard_normal(30), 10)  # 30 independent blocks
        low, high = interval(values, np.repeat(np.arange(30), 10), seed)
        hits += low <= 0.0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_same_reports_give_the_same_intervals():
    a, b = made_report(), made_report(shift=0.01)
    assert compare(a, b).to_json() == compare(a, b).to_json()


def test_few_blocks_give_no_interval():
    assert interval(np.ones(7), np.arange(7)) is None
    assert interval(np.ones(8), np.arange(8)) == (1.0, 1.0)
    assert interval(np.empty(0), np.empty(0, np.int64)) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sources": [source("other.mcap")]}, "different bags"),
        ({"sources": [{**source("drive.mcap"), "start_ns": 5}]}, "different bags"),
        ({"sources": [source("drive.mcap")]}, "only in the first: second.mcap"),
    ],
)
def test_other_bags_are_objected_to(changes, words):
    (objection,) = compare(made_report(), changed(**changes)).objections
    assert words in objection


def test_the_place_of_a_bag_does_not_matter():
    bags = [source("somewhere/drive.mcap"), source("else/second.mcap")]
    assert compare(made_report(), changed(sources=bags)).objections == ()


def test_bags_of_the_same_name_are_distinguished_by_their_start():
    start_ns = 1_700_000_900_000_000_000
    bags = [source("rosbag2"), {**source("rosbag2"), "start_ns": start_ns}]
    rows = [[row[0] - 8.0 * row[1], *row[1:]] for row in made_report()["frames"]["rows"]]
    a = changed(sources=bags)
    a["frames"] = {**a["frames"], "rows": rows}
    b = {**a, "sources": bags[::-1]}
    b["frames"] = {**a["frames"], "rows": [[row[0], 1 - row[1], *row[2:]] for row in rows]}
    miou = paired(compare(a, b), "frame.miou")
    assert miou.pairs == 120
    assert (miou.delta, miou.low, miou.high) == (0.0, 0.0, 0.0)


def test_another_protocol_and_other_labels_are_objected_to():
    other = copy.deepcopy(made_report())
    scores = other["segmentation"]["rows"]["fused"]["all"]
    scores["protocols"] = {"mfnet-9": 0.5}
    other["segmentation"]["labels"] = "topic /truth"
    objections = compare(made_report(), other).objections
    assert len(objections) == 2
    assert "fmb-14" in objections[0]
    assert "mfnet-9" in objections[0]


def test_what_a_reader_should_mind_is_said():
    other = changed(partial="Ctrl-C", machine={"cores": 64}, segmentation=None)
    other["fusion"] = {**other["fusion"], "every": 10}
    other["settings"] = {"metrics_every": 10, "model": "x"}
    told = " ".join(compare(made_report(), other).cautions)
    for words in ("partial (Ctrl-C)", "machine", "only the first report has labels", "one of 50"):
        assert words in told
    assert "settings differ: metrics_every, protocol" in told


def test_numbers_that_one_report_lacks_are_left_out():
    other = changed(flicker={"fused": None, "thermal": 0.9})
    names = {each.name for each in compare(made_report(), other).differences}
    assert "flicker.thermal" in names
    assert "flicker.fused" not in names


def test_frames_dropped_for_a_reason_that_only_one_report_knows_are_a_difference():
    pairs = made_report()["pairs"]
    worse = changed(pairs={**pairs, "dropped": {"rgb.stamp_repeated": 7}, "lost_share": 0.25})
    found = compare(changed(pairs={**pairs, "dropped": {}, "lost_share": 0.0}), worse)
    dropped = found.find("dropped.rgb.stamp_repeated")
    assert (dropped.a, dropped.b, dropped.worsening) == (0.0, 7.0, 7.0)
    assert found.find("pairs.lost_share").worsening == 0.25
    back = compare(worse, changed(pairs={**pairs, "dropped": {}, "lost_share": 0.0}))
    assert back.find("dropped.rgb.stamp_repeated").worsening == -7.0


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("segmentation.fused.all.miou.x", "higher"),
        ("fusion.day.fused.SSIM", "higher"),
        ("fusion.day.visible.SSIM", ""),
        ("flicker.fused", "lower"),
        ("timing.pairs_per_s", "higher"),
        ("timing.stages.inference.p95", "lower"),
        ("dropped.no_partner", "lower"),
        ("pairs.lost_share", "lower"),
        ("pairs.evaluated", ""),
        ("frame.confidence", ""),
    ],
)
def test_every_number_knows_which_way_is_better(name, better):
    assert direction(name) == better


def test_page_and_text_agree():
    a, b = made_report(), changed(sources=[source('<b>"x".mcap')])
    found = compare(a, b)
    folders = ("runs/old", "runs/new")
    page, text = compare_page(a, b, found, folders), compare_text(a, b, found, folders)
    for written in (page, text):
        assert "runs/old" in written
        assert "runs/new" in written
        assert a["model"]["engine"]["name"] in written
    assert "Not comparable" in page
    assert "NOT COMPARABLE" in text
    assert "<b>&#34;x&#34;" not in page
    assert "&lt;b&gt;&#34;x&#34;.mcap" in page
    assert "<script" not in page


def test_what_is_certain_and_too_small_to_see_is_not_called_worse():
    def difference(name: str, a: float, b: float) -> PairedDifference:
        end = (b - a) * 0.9, (b - a) * 1.1
        return PairedDifference(name, a, b, direction(name), "all", 90, *sorted(end), 20)

    assert difference("frame.fused_SD", 40.0, 39.985).certainty == "certain but small"
    assert difference("frame.SSIM", 0.8, 0.799).certainty == "certain but small"
    assert difference("frame.SSIM", 0.8, 0.7).certainty == "worse"
    assert difference("frame.miou", 0.0, 0.002).certainty == "better"
    found = Comparison((), (), (), (difference("frame.fused_SD", 40.0, 39.985),))
    page = compare_page(made_report(), made_report(), found, ("a", "b"))
    assert "certain but small" in page
    assert 'class="worse"' not in page


def test_equal_rows_and_repeats_are_left_out():
    a, b = made_report(), made_report(shift=-0.03)
    for report in (a, b):
        scores = report["segmentation"]["rows"]["fused"]["all"]
        scores["protocols"] |= {"fmb-15": scores["protocols"]["fmb-14"]}
    found = compare(a, b)
    names = [each.name for each in found.shown]
    assert "segmentation.fused.all.miou.fmb-14" in names
    assert "segmentation.fused.all.miou.fmb-15" not in names
    assert found.find("segmentation.fused.all.miou.fmb-15") is not None
    assert all(each.delta for each in (*found.shown, *found.shown_pairs))
    equal = compare_text(a, a, compare(a, a), ("a", "a"))
    assert f"{len(found.differences)} of {len(found.differences)} numbers are equal" in equal


def test_data_sets_are_compared_pair_by_pair_in_blocks_of_neighbours():
    def scored(shift: float) -> dict[str, Any]:
        rows = [[f"{n:03d}", "day", 0.5 + n / 1000 + shift, 0.7] for n in range(80)]
        facts = {"columns": ["name", "when", "miou", "hit"], "rows": rows}
        figures = {"boxes": 20, "box_recall": 0.8 + shift, "box_precision": None}
        return changed(
            frames={}, fusion_frames={}, dataset=facts, sources=[source("pairs")],
            boxes={"fused": {"all": {"person": figures}}},
        )  # fmt: skip

    first, second = scored(0.0), scored(-0.1)
    second["dataset"]["rows"] = second["dataset"]["rows"][4:]
    found = compare(first, second)
    assert found.objections == ()
    miou = paired(found, "frame.miou")
    assert (miou.pairs, miou.blocks, miou.certainty) == (76, 10, "worse")
    assert miou.delta == pytest.approx(-0.1)
    assert found.find("boxes.fused.all.person.box_recall").worsening == pytest.approx(0.1)
    assert found.find("boxes.fused.all.person.boxes") is None
