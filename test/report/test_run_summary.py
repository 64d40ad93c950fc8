# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from segmif_ros.report.run_summary import (
    FORMAT,
    OVERTAKEN,
    Latency,
    machine,
    summarize_run,
    summary,
    versions,
)


def diagnostics(**changes: str) -> dict[str, dict[str, str]]:
    """What a node says after 100 pairs, all well; changes are "concern__key" = value."""
    values = {
        "rgb": {"received": "100", "refused": "0", "refused.step": "0"},
        "thermal": {"received": "100", "refused": "0"},
        "pairing": {"pairs": "100", "replaced": "0", "skipped": "0", "withdrawn": "0"},
        "mode": {"withheld": "0"},
        "engine": {"name": "openvino", "warmup_ms": "12.0", "published": "100", "failures": "0"},
        "latency": {
            "latency.inference.p50_ms": "12.500",
            "latency.inference.p95_ms": "14.000",
            "latency.inference.p99_ms": "15.250",
            "latency.inference.count": "100",
            "latency.total.count": "0",
        },
    }
    for name, value in changes.items():
        concern, _, key = name.partition("__")
        values[concern][key.replace("_DOT_", ".")] = value
    return values


def run(values=None, *, out: int = 100, pairs_in: int = 100):
    return summarize_run(
        diagnostics() if values is None else values,
        source={"kind": "rig", "seed": 1},
        pairs_in=pairs_in,
        counts={"fused": out},
        ages_ms={"fused": [20.0, 30.0, 40.0], "mask": []},
        rate_in_hz=10.0,
        outputs_span_s=9.9,
        model="segmif-nano",
        notes=["a note"],
    )


def test_a_clean_run_passes_and_dropped_nothing():
    report = run()
    assert report.passed
    assert report.share == 1.0
    assert report.dropped == {}
    assert report.details == {}
    assert report.rate_out_hz == pytest.approx(10.0)
    assert report.latency_ms == {"inference": Latency(12.5, 14.0, 15.25, 100)}
    assert report.age_ms["fused"].p50 == 30.0
    assert "mask" not in report.age_ms
    assert report.model == {"model": "segmif-nano", "name": "openvino", "warmup_ms": "12.0"}


@pytest.mark.parametrize(("out", "passed"), [(95, True), (94, False), (0, False)])
def test_the_bar_is_95_percent(out, passed):
    assert run(diagnostics(engine__published=str(out)), out=out).passed is passed


@pytest.mark.parametrize(("replaced", "too_fast"), [(0, False), (5, False), (6, True)])
def test_a_lower_rate_helps_when_pairs_were_overtaken(replaced, too_fast):
    values = diagnostics(pairing__replaced=str(replaced), engine__published=str(100 - replaced))
    assert run(values, out=100 - replaced).too_fast is too_fast


def test_a_compressed_image_replaced_before_it_was_decoded_is_not_malformed():
    values = diagnostics(
        rgb__refused="11", rgb__refused_DOT_busy="10", pairing__pairs="89", engine__published="89"
    )
    report = run(values, out=89)
    assert report.dropped == {OVERTAKEN: 10, "refused by the node (malformed image)": 1}
    assert report.too_fast, "a lower rate helps"


def test_no_pairs_at_all_is_no_success():
    assert run(pairs_in=0, out=0).passed is False


def test_every_lost_pair_has_its_reason():
    values = diagnostics(
        rgb__received="97",
        thermal__received="98",
        thermal__refused="2",
        thermal__refused_DOT_step="2",
        pairing__pairs="90",
        pairing__dropped_DOT_rgb_DOT_no_partner="5",
        pairing__replaced="4",
        pairing__withdrawn="1",
        mode__withheld="2",
        engine__failures="3",
        engine__published="80",
    )
    report = run(values, out=78)
    assert report.dropped == {
        "lost between camera and node": 3,
        "refused by the node (malformed image)": 1,
        "without a partner in the other stream": 6,
        "overtaken by a newer pair (machine too slow)": 4,
        "left when the node stopped": 1,
        "one camera went on alone": 2,
        "failed in the node": 3,
        "lost between node and subscriber": 2,
    }
    assert sum(report.dropped.values()) == report.pairs_in - report.pairs_out
    assert report.details == {"thermal.refused.step": 2, "pairing.dropped.rgb.no_partner": 5}


def test_a_silent_node_reads_as_nothing_received():
    report = run({}, out=0)
    assert report.dropped == {"lost between camera and node": 100}
    assert report.latency_ms == {}


def test_json_is_versioned_and_complete():
    data = json.loads(json.dumps(run().to_json(created="2026-01-01T00:00:00+00:00")))
    assert data["format"] == FORMAT
    assert data["created"] == "2026-01-01T00:00:00+00:00"
    assert data["passed"] is True
    assert data["latency_ms"]["inference"] == {
        "p50": 12.5,
        "p95": 14.0,
        "p99": 15.25,
        "count": 100,
    }
    assert data["source"] == {"kind": "rig", "seed": 1}
    assert data["notes"] == ["a note"]
    assert {"machine", "versions", "dropped", "pairs_in", "pairs_out"} <= data.keys()


def test_table_shows_counts_drops_and_stages():
    text = run(diagnostics(pairing__replaced="7", engine__published="93"), out=93).table()
    assert "pairs in       100   at 10.0 per second" in text
    assert "93.0 %" in text
    assert "7   overtaken by a newer pair" in text
    assert "network" in text
    assert "12.5    14.0    15.2     100" in text
    assert "camera stamp to subscriber" in text


def test_summary_takes_percentiles():
    assert summary(range(101)) == Latency(50.0, 95.0, 99.0, 101)


def test_machine_and_versions_name_what_took_part():
    assert machine()["cores"] >= 1
    assert machine()["memory_mb"] > 100
    assert {"python", "numpy", "segmif_ros", "rosbags"} <= versions().keys()
