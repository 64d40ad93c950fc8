# SPDX-License-Identifier: Apache-2.0
"""A parameter file means the same to `segmif evaluate --params` as to ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from segmif_ros.evaluation.settings import SettingsError, node_parameters
from segmif_ros.share import share_path

FILES = {
    "name": "segmif: {ros__parameters: {queue_size: 3}}",
    "full name": "/segmif: {ros__parameters: {queue_size: 3}}",
    "everybody": "/**: {ros__parameters: {queue_size: 3}}",
    "every node, bare": "'**': {ros__parameters: {queue_size: 3}}",
    "one part": "/*: {ros__parameters: {queue_size: 3}}",
    "nested": "ns: {segmif: {ros__parameters: {queue_size: 3}}}",
    "in one": "/ns/segmif: {ros__parameters: {queue_size: 3}}",
    "any namespace": "/*/segmif: {ros__parameters: {queue_size: 3}}",
    "any depth": "/**/segmif: {ros__parameters: {queue_size: 3}}",
    "all of a namespace": "/ns/**: {ros__parameters: {queue_size: 3}}",
    "nested one": "ns: {'*': {ros__parameters: {queue_size: 3}}}",
    "particular last": "/**: {ros__parameters: {queue_size: 3}}\n"
    "segmif: {ros__parameters: {queue_size: 4}}",
    "particular first": "segmif: {ros__parameters: {queue_size: 4}}\n"
    "/**: {ros__parameters: {queue_size: 3}}",
    "twice": "segmif: {ros__parameters: {queue_size: 4}}\n"
    "/segmif: {ros__parameters: {queue_size: 3}}",
    "another node beside it": "detector: {ros__parameters: {queue_size: 9}}\n"
    "/**: {ros__parameters: {queue_size: 3}}",
    "another node": "detector: {ros__parameters: {queue_size: 9}}",
    "longer name": "segmif_node: {ros__parameters: {queue_size: 9}}",
}
CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
NODES = ("/segmif", "/ns/segmif", "/a/b/segmif")


def taken(text: str, node: str) -> int | None:
    try:
        return node_parameters(yaml.safe_load(text), node).get("queue_size")
    except SettingsError:
        return None


@pytest.fixture(scope="module")
def context() -> Any:
    """ROS itself."""
    return pytest.importorskip("rclpy", reason="the oracle is ROS itself")


@pytest.mark.parametrize("name", FILES)
def test_sections_count_as_in_ros(name: str, context: Any, tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(FILES[name])
    for full in NODES:
        namespace = full.rpartition("/")[0] or "/"
        own = context.context.Context()
        words = ["--ros-args", "--params-file", str(file), "-r", f"__ns:={namespace}"]
        context.init(args=words, context=own)
        node = context.create_node("segmif", context=own, start_parameter_services=False)
        try:
            overrides = node._parameter_overrides
            expected = overrides["queue_size"].value if "queue_size" in overrides else None
        finally:
            node.destroy_node()
            context.shutdown(context=own)
        assert taken(FILES[name], full) == expected, full


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tolerance_ms: 77.0", "has no ros__parameters"),
        ("[1, 2]", "has no ros__parameters"),
        ("", "has no ros__parameters"),
        ("segmif: {ros__parameters: 3}", "is 3, no mapping"),
        ("segmif: {}", "/segmif has no ros__parameters"),
        ("/**: {ros__parameters: {tolerence_ms: 77.0}}", "did you mean 'tolerance_ms'?"),
        ("/**: {ros__parameters: {thermal: {mode: auto}}}", "no parameter 'thermal.mode'"),
        ("/**: {ros__parameters: {queue_size: '5'}}", "queue_size is '5' of type str"),
        ("/**: {ros__parameters: {queue_size: true}}", "queue_size is True of type bool"),
        ("/**: {ros__parameters: {confidence_threshold: yes}}", "is True of type bool"),
        ("/**: {ros__parameters: {queue_size: 0}}", "queue_size is 0, expected"),
        ("seg*: {ros__parameters: {queue_size: 5}}", "whole parts of a name, not 'seg[*]'"),
        ("segmif_node: {ros__parameters: {queue_size: 5}}", "only for /segmif_node; ROS would"),
    ],
)
def test_a_file_that_means_something_else_is_refused(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        node_parameters(yaml.safe_load(text))


def test_the_shipped_file_and_what_ros_adds_are_taken() -> None:
    shipped = yaml.safe_load(share_path("config", "segmif.yaml").read_text())
    shipped["/**"]["ros__parameters"] |= {
        "use_sim_time": True,
        "qos_overrides": {"/parameter_events": {"publisher": {"depth": 5}}},
    }
    assert node_parameters(shipped)["tolerance_ms"] == 30.0
    whole = {"/**": {"ros__parameters": {"tolerance_ms": 12}}}
    assert node_parameters(whole) == {"tolerance_ms": 12}


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases (../shared/cases) are not there")
@pytest.mark.parametrize(
    ("file", "taken_or_told"),
    [
        ("right_name", {"tolerance_ms": 77.0}),
        ("shared_silent", {"tolerance_ms": 50.0}),
        ("shared_with_other_node", {"tolerance_ms": 50.0}),
        ("flat", "has no ros__parameters"),
        ("misspelt", "did you mean 'tolerance_ms'"),
    ],
)
def test_files_that_people_sent(file: str, taken_or_told: dict[str, float] | str) -> None:
    content = yaml.safe_load((CASES / "50-params-file" / f"{file}.yaml").read_text())
    if isinstance(taken_or_told, dict):
        assert node_parameters(content) == taken_or_told
    else:
        with pytest.raises(SettingsError, match=taken_or_told):
            node_parameters(content)
