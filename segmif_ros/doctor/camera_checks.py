# SPDX-License-Identifier: Apache-2.0
"""Checks of `segmif doctor` on the ROS graph: the cameras' images, and running nodes."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segmif_ros.doctor.check_result import Answer, CheckResult, Verdict, ask

LOST_SHARE = 0.3
"""Less could be stamps that jitter."""
OLD_S = 10.0

_MIB = 1024 * 1024
_SECONDS_OVER = 25.0
_THERMAL_NAME = re.compile(r"therm|lwir|infra|(?<![a-z])ir(?![a-z])|flir|boson|lepton|optris|seek")
_NO_CAMERA = re.compile(r"/output/|label|mask|depth|disparity|confidence|overlay|fused")
_RGB_NAME = re.compile(r"rgb|colou?r|visible|front|camera|image_raw")
_THERMAL_FORMAT = re.compile(r"mono16|16UC1|32FC1")


def look_at_graph(topics: Sequence[str], seconds: float) -> Answer:
    """Run the probe on the ROS graph; its output is JSON.

    Args:
        topics: what to listen to, empty for all images.
        seconds: how long to listen.
    """
    module = "segmif_ros.ros.tools.graph_probe"
    command = [sys.executable, "-m", module, "--seconds", f"{seconds:g}", *topics]
    home = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), home]))
    return ask(command, seconds=seconds + _SECONDS_OVER, environment={"PYTHONPATH": path})


def graph_checks(answer: Answer, chosen: Mapping[str, str]) -> list[CheckResult]:
    """Return one result per camera and one about running nodes.

    Args:
        answer: what `look_at_graph` returned.
        chosen: camera name ("rgb", "thermal") -> topic that the user named.
    """
    if answer.code != 0:
        fact = f"the ROS graph could not be read: {answer.last_line}"
        return [CheckResult("cameras", Verdict.FAIL, fact, "see the line `ros`")]
    graph = json.loads(answer.out.splitlines()[-1])
    topics = {topic["name"]: topic for topic in graph["topics"]}
    used = {**guess_cameras(graph["topics"]), **topics_of_node(graph), **chosen}
    results = []
    for camera in ("rgb", "thermal"):
        topic = topics.get(name := used.get(camera, ""))
        if topic is None or not topic["publishers"]:
            results.append(_absent(camera, name, graph["published"]))
        else:
            results.append(camera_check(camera, topic, graph["clock_publishers"]))
    rgb, thermal = (topics.get(used.get(camera, "")) for camera in ("rgb", "thermal"))
    results += geometry_check(rgb, thermal) if not graph["diagnostics"] else []
    return [*results, node_check(graph)]


def topics_of_node(graph: Mapping[str, Any]) -> dict[str, str]:
    """Return the camera topics of a running node, as its diagnostics name them."""
    found = {}
    for status in graph["diagnostics"]:
        camera = status["name"].rpartition(": ")[2]
        if camera in ("rgb", "thermal") and status["values"].get("topic"):
            found[camera] = status["values"]["topic"]
    return found


def guess_cameras(topics: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Guess from names and encodings which image topics are the two cameras."""
    images = [t for t in topics if t["publishers"] and not _NO_CAMERA.search(t["name"].lower())]
    # What the node can take from neither camera: the transports of image_transport that are no
    # pictures, for example zstd.
    images = [t for t in images if len(t.get("refused", ())) < 2]
    # A raw topic before its compressed one, a short name before a long one.
    images.sort(key=lambda t: (t["type"].endswith("CompressedImage"), len(t["name"]), t["name"]))

    def is_thermal(topic: Mapping[str, Any]) -> bool:
        by_format = _THERMAL_FORMAT.search(topic.get("format", ""))
        return bool(by_format or _THERMAL_NAME.search(topic["name"].lower()))

    thermal = [t["name"] for t in images if is_thermal(t)]
    others = [t["name"] for t in images if not is_thermal(t)]
    named = [name for name in others if _RGB_NAME.search(name.lower())]
    found = {"rgb": (named or others)[:1], "thermal": thermal[:1]}
    return {camera: names[0] for camera, names in found.items() if names}


def camera_check(camera: str, topic: Mapping[str, Any], clocks: int) -> CheckResult:
    """Check the topic of one camera, which has a publisher.

    Args:
        camera: "rgb" or "thermal".
        topic: what the probe saw.
        clocks: how many publish /clock.
    """
    name = topic["name"]
    publishers = topic["publishers"]
    offered = ", ".join(sorted({p["reliability"] for p in publishers}))
    kind = topic["type"].rpartition("/")[2]
    fact = f"{name}: {kind}, {offered}, {topic['images']} images"
    if len(topic["unheard"]) == len(publishers):
        return CheckResult(camera, Verdict.FAIL, f"{name}: {topic['unheard'][0]}", "see above")
    if not topic["images"]:
        remedy = _of_other_users() or f"does the driver stream? {_writer_remedy(publishers)}"
        return CheckResult(camera, Verdict.FAIL, f"{fact}: a publisher, and nothing comes", remedy)
    if refused := topic["refused"].get(camera):
        return CheckResult(
            camera,
            Verdict.FAIL,
            f"{name}: segmif_node refuses these images: {refused}",
            "let the driver publish another encoding (docs/inputs.md), or name another topic: "
            f"--{camera}-topic TOPIC",
        )
    fact = f"{name}: {topic['format']}, {offered}, {topic['rate_hz']:.1f} Hz"
    lossy = _lossy(camera, fact, topic)
    if lossy is not None:
        return lossy
    segment = smallest_segment_mib(publishers)
    fact += "" if segment is None else f", writer's segment {segment:.1f} MiB"
    return (
        _other_clock(camera, fact, topic, clocks)
        or _several(camera, fact, publishers)
        or CheckResult(camera, Verdict.OK, fact)
    )


def _absent(camera: str, name: str, published: Mapping[str, str]) -> CheckResult:
    """Report what exists instead of a camera.

    Args:
        camera: "rgb" or "thermal".
        name: its topic, empty when none could be identified.
        published: topics with a publisher -> type. A topic with only subscribers exists
            as well, without a use.
    """
    kind = published.get(name)
    if kind is not None:
        fact = f"{name} carries {kind}, not images"
        remedy = f"name the topic of the images: --{camera}-topic TOPIC"
        return CheckResult(camera, Verdict.FAIL, fact, remedy)
    seen = ", ".join(published) or "none"
    remedy = (
        f"start the driver in this ROS_DOMAIN_ID (a bag: ros2 bag play --delay 3), or name its "
        f"topic: --{camera}-topic TOPIC"
    )
    remedy = _of_other_users() or remedy
    if not name:
        fact = f"no topic looks like the {camera} camera; image topics: {seen}"
        return CheckResult(camera, Verdict.WARN, fact, remedy)
    if near := difflib.get_close_matches(name, published, n=3):
        remedy = f"did you mean {' or '.join(near)}?"
    return CheckResult(
        camera, Verdict.FAIL, f"no publisher on {name}; image topics: {seen}", remedy
    )


def geometry_check(
    rgb: Mapping[str, Any] | None, thermal: Mapping[str, Any] | None
) -> list[CheckResult]:
    """Report whether the pictures of two cameras can align without a calibration.

    Args:
        rgb: what the probe saw of the camera, None for nothing.
        thermal: likewise.
    """
    from segmif_ros.registration.warp import cameras_differ  # needs NumPy

    if not (rgb and thermal and rgb.get("size") and thermal.get("size")):
        return []

    shown, other = (f"{width}x{height}" for width, height in (rgb["size"], thermal["size"]))
    differ = cameras_differ(shown, other, rgb["focal_lengths"], thermal["focal_lengths"])
    if not differ:
        fact = f"both have {shown} pixels; needed unless the driver has registered them"
        return [CheckResult("geometry", Verdict.OK, fact)]
    return [
        CheckResult(
            "geometry",
            Verdict.WARN,
            f"{differ}: without a calibration_file everything is drawn twice",
            "record a bag and run: segmif calibrate auto BAG --out rig.yaml (docs/calibration.md)",
        )
    ]


def _lossy(camera: str, fact: str, topic: Mapping[str, Any]) -> CheckResult | None:
    """Assess losses, present and expected: the segment belongs to the process that writes."""
    sent, size = topic["sent_hz"], topic["bytes"] / _MIB
    lost = 1.0 - topic["rate_hz"] / sent if sent > 0 else 0.0
    segment = smallest_segment_mib(topic["publishers"])
    small = segment is not None and segment < size * 1.5
    if small:
        fact += f", {size:.1f} MiB each, from a process with a segment of {segment:.1f} MiB"
    if lost > LOST_SHARE:
        remedy = _writer_remedy(topic["publishers"])
        if segment is not None and not small:
            remedy = "the profile is in force: is the machine overloaded? (`top`)"
        return CheckResult(camera, Verdict.WARN, f"{fact}: about {lost:.0%} get lost", remedy)
    if small:
        remedy = _writer_remedy(topic["publishers"])
        return CheckResult(camera, Verdict.WARN, f"{fact}: some will get lost", remedy)
    return None


def _writer_remedy(publishers: Sequence[Mapping[str, Any]]) -> str:
    if all(p["other_host"] for p in publishers):
        return "from another machine: sysctl -w net.core.rmem_max=16777216, and wired Ethernet"
    nodes = ", ".join(sorted({_name(p) for p in publishers}))
    return f"start {nodes} with the Fast DDS profile, see the line `transport`"


def _name(publisher: Mapping[str, Any]) -> str:
    """Return the node's name; Fast DDS has none where it has not discovered all of the process."""
    unknown = "_UNKNOWN_" in publisher["node"]
    return "the driver" if unknown else str(publisher["node"])


def _of_other_users() -> str:
    """Return what to do about DDS processes of other users, empty where there are none."""
    from segmif_ros.ros.transport import other_users

    users = other_users()
    if not users:
        return ""
    return (
        f"user {', '.join(users)} runs DDS processes here, and Fast DDS shares memory within one "
        "user only: run driver and node as one user, or give segmif_node the profile "
        "config/fastdds_udp.xml (docs/deploy)"
    )


def smallest_segment_mib(publishers: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the smallest segment of the processes that publish, None if unknown."""
    lows = [p["pid_low"] for p in publishers if p["pid_low"] is not None]
    return min((s for low in lows if (s := segment_mib(low)) is not None), default=None)


def _other_clock(
    camera: str, fact: str, topic: Mapping[str, Any], clocks: int
) -> CheckResult | None:
    age = topic["age_s"]
    if abs(age) < OLD_S:
        return None
    text = f"{fact}; stamps are {abs(age):.0f} s {'old' if age > 0 else 'in the future'}"
    if clocks:
        return CheckResult(
            camera, Verdict.OK, f"{text}, and /clock is published: use_sim_time:=true"
        )
    return CheckResult(
        camera,
        Verdict.WARN,
        text,
        "a bag: play it with --clock --delay 3 and set use_sim_time:=true; a camera: set its clock",
    )


def _several(camera: str, fact: str, publishers: Sequence[Mapping[str, Any]]) -> CheckResult | None:
    if len(publishers) < 2:
        return None
    nodes = ", ".join(map(_name, publishers))
    return CheckResult(camera, Verdict.WARN, f"{fact}, from {nodes}", "stop all but one")


def node_check(graph: Mapping[str, Any]) -> CheckResult:
    """Report the diagnostics of running nodes."""
    if not graph["diagnostics"]:
        return CheckResult("node", Verdict.OK, "no segmif_node is running here")
    worst = max(graph["diagnostics"], key=lambda status: status["level"])
    names = {status["name"].rpartition(": ")[0] for status in graph["diagnostics"]}
    mode = ", ".join(s["message"] for s in graph["diagnostics"] if s["name"].endswith(": mode"))
    fact = f"{', '.join(sorted(names))} runs, mode {mode}"
    if worst["level"] == 0:
        return CheckResult("node", Verdict.OK, fact)
    verdict = Verdict.FAIL if worst["level"] > 1 else Verdict.WARN
    text = f"{fact}; its diagnostics say {worst['name']}: {worst['message']}"
    return CheckResult("node", verdict, text, "docs/diagnostics.md explains every state")


def segment_mib(pid_low: int, proc: Path = Path("/proc")) -> float | None:
    """Return the largest shared-memory segment of a process, MiB; None if unknown.

    Args:
        pid_low: the low 16 bits of its id.
        proc: the process file system.
    """
    sizes = []
    for process in proc.glob("[0-9]*"):
        if int(process.name) & 0xFFFF != pid_low:
            continue
        try:
            held = [str(entry.readlink()) for entry in (process / "fd").iterdir()]
        except OSError:
            continue  # another user's, or it has just ended
        for path in held:
            # Many map a segment; its owner alone keeps `<name>_el` open.
            if re.search(r"/fast(?:rtps|dds)_[0-9a-f]+_el$", path):
                segment = Path(path.removesuffix("_el"))
                sizes.append(segment.stat().st_size / _MIB if segment.exists() else 0.0)
    return max(sizes, default=None)
