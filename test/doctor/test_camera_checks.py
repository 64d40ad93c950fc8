# SPDX-License-Identifier: Apache-2.0
"""What `segmif doctor` makes of the ROS graph; the graph itself is a plain dictionary here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segmif_ros.doctor import camera_checks
from segmif_ros.doctor.camera_checks import (
    camera_check,
    graph_checks,
    guess_cameras,
    node_check,
    segment_mib,
)
from segmif_ros.doctor.check_result import Answer, CheckResult, Verdict

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA = {
    "node": "/driver", "type": IMAGE, "reliability": "best_effort", "durability": "volatile",
    "other_host": False, "pid_low": 77,
}  # fmt: skip


def topic(name: str = "/cam", **changes: Any) -> dict[str, Any]:
    """A healthy camera of 30 Hz."""
    return {
        "name": name, "type": IMAGE, "publishers": [CAMERA], "unheard": [], "images": 90,
        "rate_hz": 30.0, "sent_hz": 30.0, "bytes": 921_600, "age_s": 0.01,
        "format": "640x480 rgb8", "size": [640, 480], "refused": {}, "focal_lengths": [],
    } | changes  # fmt: skip


def judged(clocks: int = 0, **changes: Any) -> CheckResult:
    return camera_check("rgb", topic(**changes), clocks)


@pytest.fixture(autouse=True)
def segment(monkeypatch: pytest.MonkeyPatch) -> dict[str, float | None]:
    """The shared-memory segment of the camera's process, MiB."""
    size: dict[str, float | None] = {"mib": 16.8}
    monkeypatch.setattr(camera_checks, "segment_mib", lambda _: size["mib"])
    monkeypatch.setattr("segmif_ros.ros.transport.other_users", list)
    return size


def test_a_healthy_camera():
    found = judged()
    assert found.verdict is Verdict.OK
    assert found.fact == "/cam: 640x480 rgb8, best_effort, 30.0 Hz, writer's segment 16.8 MiB"


@pytest.mark.parametrize(
    ("changes", "verdict", "fact", "remedy"),
    [
        ({"unheard": ["/driver offers reliability"]}, Verdict.FAIL, "/driver offers", ""),
        ({"images": 0}, Verdict.FAIL, "nothing comes", "does the driver stream?"),
        ({"sent_hz": 60.0}, Verdict.WARN, "about 50% get lost", "overloaded"),
        ({"sent_hz": 35.0}, Verdict.OK, "30.0 Hz", ""),
        ({"sent_hz": 0.0}, Verdict.OK, "30.0 Hz", ""),
        ({"age_s": 3600.0}, Verdict.WARN, "stamps are 3600 s old", "--clock"),
        ({"age_s": -20.0}, Verdict.WARN, "20 s in the future", "set its clock"),
        ({"age_s": 3600.0, "clocks": 1}, Verdict.OK, "use_sim_time:=true", ""),
        ({"publishers": [CAMERA, CAMERA]}, Verdict.WARN, "/driver, /driver", "all but one"),
        (
            {"refused": {"rgb": "encoding 'nv99' is not known"}},
            Verdict.FAIL,
            "'nv99' is",
            "--rgb-topic",
        ),
        ({"refused": {"thermal": "encoding"}}, Verdict.OK, "30.0 Hz", ""),
    ],
)
def test_what_can_be_wrong_with_a_camera(changes, verdict, fact, remedy):
    found = judged(**changes)
    assert found.verdict is verdict
    assert fact in found.fact
    assert remedy in found.remedy
    assert (found.verdict is Verdict.OK) == (not found.remedy)


def test_a_small_segment_loses_large_images(segment):
    segment["mib"] = 0.5
    found = judged()
    assert found.verdict is Verdict.WARN
    assert "0.9 MiB each, from a process with a segment of 0.5 MiB: some will" in found.fact
    assert "start /driver with the Fast DDS profile" in found.remedy
    assert "about 67% get lost" in judged(sent_hz=90.0).fact
    assert judged(bytes=100_000).verdict is Verdict.OK, "small images fit"
    segment["mib"] = None
    assert judged().verdict is Verdict.OK, "nothing is said of what is unknown"


def test_a_camera_on_another_machine_needs_no_shared_memory():
    remote = CAMERA | {"other_host": True, "pid_low": None}
    found = judged(publishers=[remote], sent_hz=90.0)
    assert "net.core.rmem_max" in found.remedy


@pytest.mark.parametrize(
    ("names", "rgb", "thermal"),
    [
        (["/front/image_raw", "/flir/image_raw"], "/front/image_raw", "/flir/image_raw"),
        (["/rgb/image", "/thermal/image", "/rgb/rect_image"], "/rgb/image", "/thermal/image"),
        (["/left/ir/image", "/left/color/image"], "/left/color/image", "/left/ir/image"),
        (["/first/image", "/lwir"], "/first/image", "/lwir"),
        (["/segmif/output/fused", "/camera/image"], "/camera/image", ""),
        (["/rgb/labels", "/camera/depth/image", "/c/image"], "/c/image", ""),
        ([], "", ""),
    ],
)  # fmt: skip
def test_cameras_are_guessed_from_names(names, rgb, thermal):
    found = guess_cameras([topic(name) for name in names])
    assert (found.get("rgb", ""), found.get("thermal", "")) == (rgb, thermal)


def test_cameras_are_guessed_from_encodings_and_raw_comes_first():
    topics = [
        topic("/a/compressed", type=COMPRESSED, format="rgb8; jpeg compressed bgr8"),
        topic("/a", format="640x480 rgb8"),
        topic("/b", format="640x512 mono16"),
        topic("/silent", publishers=[]),
        topic("/0/zstd", type=COMPRESSED, format="zstd", refused={"rgb": "?", "thermal": "?"}),
    ]
    assert guess_cameras(topics) == {"rgb": "/a", "thermal": "/b"}


def status(name: str, level: int, **values: str) -> dict[str, Any]:
    return {"name": f"segmif: {name}", "level": level, "message": f"{name} text", "values": values}


def graph(
    *topics: dict[str, Any], diagnostics: Any = (), published: dict[str, str] | None = None
) -> Answer:
    seen: dict[str, Any] = {"rmw": "x", "topics": topics, "clock_publishers": 0, "nodes": []}
    seen["published"] = {t["name"]: t["type"] for t in topics if t["publishers"]} | (
        published or {}
    )
    return Answer(0, "a library talks\n" + json.dumps(seen | {"diagnostics": diagnostics}), "")


def test_topics_of_a_running_node_come_before_guesses_and_named_ones_before_both():
    topics = [topic("/odd"), topic("/rgb"), topic("/thermal")]
    diagnostics = [status("rgb", 0, topic="/odd"), status("mode", 0)]
    results = graph_checks(graph(*topics, diagnostics=diagnostics), {})
    assert [f.check for f in results] == ["rgb", "thermal", "node"]
    assert results[0].fact.startswith("/odd:")
    assert results[1].fact.startswith("/thermal:")
    named = graph_checks(graph(*topics, diagnostics=diagnostics), {"rgb": "/rgb"})
    assert named[0].fact.startswith("/rgb:")


def test_no_topics_at_all():
    rgb, _, node = graph_checks(graph(), {})
    assert (rgb.verdict, node.verdict) == (Verdict.WARN, Verdict.OK)
    assert "image topics: none" in rgb.fact
    assert "ROS_DOMAIN_ID" in rgb.remedy
    assert graph_checks(graph(), {"rgb": "/cam"})[0].verdict is Verdict.FAIL


def test_a_probe_that_fails_is_a_finding():
    (found,) = graph_checks(Answer(1, "", "Traceback\nRuntimeError: no participant"), {})
    assert found.verdict is Verdict.FAIL
    assert "RuntimeError: no participant" in found.fact


@pytest.mark.parametrize(("level", "verdict"), [(0, "OK"), (1, "WARN"), (2, "FAIL")])
def test_a_running_node_reports_its_own_state(level, verdict):
    seen = {"diagnostics": [status("rgb", level), status("mode", 0)]}
    found = node_check(seen)
    assert found.verdict.name == verdict
    assert "segmif runs, mode mode text" in found.fact
    assert ("rgb text" in found.fact) == (level > 0)


def test_the_segment_of_a_process_is_the_one_whose_lock_it_holds(tmp_path: Path) -> None:
    memory, proc = tmp_path / "shm", tmp_path / "proc"
    memory.mkdir()
    for name, size in (("fastrtps_0a", 2**19), ("fastrtps_0b", 2**24), ("fastrtps_0c", 2**20)):
        (memory / name).write_bytes(bytes(size))
        (memory / f"{name}_el").touch()

    def opened(pid: int, *names: str) -> None:
        folder = proc / str(pid) / "fd"
        folder.mkdir(parents=True)
        for number, name in enumerate(names):
            (folder / str(number)).symlink_to(memory / name)

    opened(77, "fastrtps_0a_el", "fastrtps_0b_el", "fastrtps_0c", "fastrtps_port7_el")
    opened(65_536 + 78, "fastrtps_0c_el")
    (proc / "79").mkdir()
    assert segment_mib(77, proc) == 16.0
    assert segment_mib(78, proc) == 1.0
    assert segment_mib(79, proc) is None
    assert segment_mib(80, proc) is None


def test_a_topic_with_only_a_subscriber_is_not_offered():
    waited_for, sent = topic("/front", publishers=[]), topic("/rear")
    rgb, *_ = graph_checks(graph(waited_for, sent), {"rgb": "/front"})
    assert rgb.fact == "no publisher on /front; image topics: /rear"


def test_a_typing_error_is_guessed_among_all_image_topics():
    """With both topics named, the probe listens to nothing else."""
    published = {"/front/image_raw": IMAGE, "/flir/image_raw": IMAGE, "/rgb/camera_info": "x/Info"}
    rgb, thermal, node = graph_checks(
        graph(published=published), {"rgb": "/frnt/image_raw", "thermal": "/rgb/camera_info"}
    )
    assert rgb.verdict is thermal.verdict is Verdict.FAIL
    assert "image topics: /front/image_raw, /flir/image_raw" in rgb.fact
    assert rgb.remedy.startswith("did you mean /front/image_raw")
    assert thermal.fact == "/rgb/camera_info carries x/Info, not images"
    assert node.check == "node"


@pytest.mark.parametrize(
    ("thermal", "verdict", "words"),
    [
        ({"size": [640, 512]}, Verdict.WARN, "rgb has 640x480 pixels and thermal 640x512"),
        ({"focal_lengths": [800.0, 800.0]}, Verdict.WARN, "rgb 600, thermal 800 pixels"),
        ({"focal_lengths": [600.0, 700.0]}, Verdict.WARN, "focal lengths differ"),
        ({"focal_lengths": [601.0, 600.0]}, Verdict.OK, "both have 640x480"),
        ({}, Verdict.OK, "both have 640x480"),
    ],
)
def test_cameras_that_cannot_fit_need_a_calibration(thermal, verdict, words):
    rgb = topic("/rgb", focal_lengths=[600.0, 600.0])
    pair = [rgb, topic("/thermal", **thermal)]
    *_, found, node = graph_checks(graph(*pair), {})
    assert (found.check, found.verdict) == ("geometry", verdict)
    assert words in found.fact
    assert ("segmif calibrate auto" in found.remedy) == (verdict is Verdict.WARN)
    assert node.check == "node"
    running = [status("rgb", 0), status("mode", 0)]
    checks = [each.check for each in graph_checks(graph(*pair, diagnostics=running), {})]
    assert checks == ["rgb", "thermal", "node"], "a node judges its own calibration"
    assert len(graph_checks(graph(rgb), {})) == 3


def test_a_driver_of_another_user_is_identified_by_its_shared_memory(monkeypatch):
    """At most its name is known: Fast DDS does not discover it."""
    unnamed = CAMERA | {"node": "_NODE_NAMESPACE_UNKNOWN_/_NODE_NAME_UNKNOWN_"}
    assert "start the driver with" in judged(images=0, publishers=[unnamed]).remedy
    monkeypatch.setattr("segmif_ros.ros.transport.other_users", lambda: ["flir"])
    rgb, thermal, _ = graph_checks(graph(), {"rgb": "/cam"})
    for found in (judged(images=0, publishers=[unnamed]), rgb, thermal):
        assert "user flir runs DDS processes here" in found.remedy
        assert "config/fastdds_udp.xml" in found.remedy
