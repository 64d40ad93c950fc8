# SPDX-License-Identifier: Apache-2.0
"""The files of a report: what is written comes back, and nothing half-written is left."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from segmif_ros.evaluation.scores import MOST_ROWS
from segmif_ros.outputs import write_whole
from segmif_ros.report.files import REPORT_FILE, RUN_FILE, finite, load, save
from segmif_ros.report.schema import SCHEMA, VERSION, ReportError, validate


def table(rows: int = 1) -> dict:
    return {"columns": ["t_s", "source"], "rows": [[0.0, 0]] * rows, "every": 1}


def report() -> dict:
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": "2026-01-01T00:00:00+00:00",
        "partial": None,
        "verdict": {"passed": None, "checks": []},
        "sources": [],
        "model": {},
        "versions": {},
        "machine": {"cores": 2},
        "settings": {},
        "pairs": {},
        "sync": {},
        "alignment": None,
        "timing": {"wall_s": 1.5, "series": table()},
        "segmentation": None,
        "boxes": None,
        "fusion": {},
        "flicker": {"fused": float("nan")},
        "classes_seen": {},
        "same_mask_alone": {},
        "frames": table(),
        "fusion_frames": table(),
        "pictures": [],
        "bag": None,
        "notes": [],
    }


def test_what_differs_from_run_to_run_lies_apart(tmp_path):
    save(tmp_path, report())
    kept = json.loads((tmp_path / REPORT_FILE).read_text())
    run = json.loads((tmp_path / RUN_FILE).read_text())
    assert not {"created", "machine", "timing"} & kept.keys()
    assert run["timing"]["wall_s"] == 1.5
    both = load(tmp_path)
    assert both["machine"] == {"cores": 2}
    assert both["flicker"]["fused"] is None
    assert load(tmp_path / REPORT_FILE) == both


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "other"}, "schema 'other'"),
        ({"version": 2}, "version 2"),
        ({"frames": table(MOST_ROWS + 1)}, "more than"),
        ({"frames": {**table(), "rows": [[1.0]]}}, "another width"),
        ({"frames": {**table(), "rows": [[1.0, -1]]}}, "expected numbers of bags"),
        ({"pictures": None}, "pictures is None, expected a list"),
        ({"flicker": {"fused": math.inf}}, "flicker.fused is inf"),
        ({"model": {"size": [1]}}, "model.size"),
        ({"timing": {"stages": {"x": {"p50": "fast"}}}}, "timing.stages"),
        ({"timing": {"wall_s": 1e300}}, "timing.wall_s is 1e"),
        ({"boxes": {"fused": {"all": {"car": {"boxes": 1, "hit": 3}}}}}, "box_recall.*expected"),
        ({"segmentation": {"rows": {}, "confusion": {"ids": [1], "matrix": []}}}, "not 1 by 1"),
    ],
)
def test_what_is_no_report_is_refused(change, says):
    with pytest.raises(ReportError, match=says):
        validate({**finite(report()), **change})


def test_a_missing_key_is_named():
    broken = report()
    del broken["sync"]
    with pytest.raises(ReportError, match="field 'sync' is missing"):
        validate(finite(broken))


def test_reports_of_older_versions_have_every_field():
    old = finite(
        {**report(), "boxes": {"fused": {"all": {"8": {"boxes": 2, "hit": 0.5, "inside": 1}}}}}
    )
    del old["same_mask_alone"], old["fusion_frames"]
    checked = validate(old)
    assert checked["calibration"] == checked["same_mask_alone"] == {}
    assert checked["boxes"]["fused"]["all"]["8"] == {
        "boxes": 2,
        "box_recall": 0.5,
        "box_precision": 1.0,
        **dict.fromkeys(("average_precision", "object_precision", "object_recall")),
    }
    assert validate(checked) == checked


@pytest.mark.parametrize("content", ["", "[1]", "{not json"])
def test_a_file_that_is_no_report_is_reported(content, tmp_path):
    save(tmp_path, report())
    (tmp_path / REPORT_FILE).write_text(content)
    with pytest.raises(ReportError, match=REPORT_FILE):
        load(tmp_path)


def test_numbers_become_those_of_json():
    value = finite({1: (np.float32(0.5), np.int64(3), math.nan, True, None, 0.1 + 0.2)})
    assert value == {"1": [0.5, 3, None, True, None, 0.3]}
    with pytest.raises(ReportError, match="Path"):
        finite(Path())


def test_a_write_that_fails_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["file"]
