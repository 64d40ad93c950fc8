# SPDX-License-Identifier: Apache-2.0
"""Checks of `segmif doctor` on ROS: the installation, and the transport of a new process."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from xml.etree import ElementTree

from segmif_ros.doctor.check_result import Answer, CheckResult, Verdict, ask_python
from segmif_ros.share import install_command

OPT_ROS = Path("/opt/ros")
SEGMENT_WANTED_MIB = 4
"""An image needs several times its size; Fast DDS has half a MiB by default."""
MOST_DOMAIN = 232
"""Higher ones have no ports left."""

_START = """
import rclpy
rclpy.init(args=[])
print(rclpy.get_rmw_implementation_identifier())
rclpy.shutdown()
"""
_MIB = 1024 * 1024


def ros_check(environment: Mapping[str, str] = os.environ, opt_ros: Path = OPT_ROS) -> CheckResult:
    """Whether rclpy can be imported, and which ROS it is."""
    domain = environment.get("ROS_DOMAIN_ID") or "0"
    if not domain.isdecimal() or int(domain) > MOST_DOMAIN:
        return CheckResult(
            "ros",
            Verdict.FAIL,
            f"ROS_DOMAIN_ID is {domain!r}, expected 0 to {MOST_DOMAIN}",
            "export ROS_DOMAIN_ID=0, the same in every shell",
        )
    answer = ask_python(_START)
    if answer.code == 0:
        return _ros_found(environment, answer.out.split()[-1])
    if "No module named 'rclpy'" in answer.err:
        return _ros_absent(environment, opt_ros)
    return _ros_broken(answer, environment)


def _ros_absent(environment: Mapping[str, str], opt_ros: Path) -> CheckResult:
    installed = sorted(path.name for path in opt_ros.glob("*/") if (path / "setup.bash").exists())
    if installed and not environment.get("AMENT_PREFIX_PATH"):
        return CheckResult(
            "ros",
            Verdict.FAIL,
            f"ROS 2 {', '.join(installed)} is installed and not sourced",
            f"source {opt_ros}/{installed[-1]}/setup.bash",
        )
    return CheckResult(
        "ros",
        Verdict.FAIL,
        "no ROS 2 here: the node, the demo and bags cannot run",
        f"source a ROS 2 installation, or (x86-64) {install_command('ros')}",
    )


def _ros_broken(answer: Answer, environment: Mapping[str, str]) -> CheckResult:
    if "No module named 'rclpy._rclpy_pybind11'" in answer.err:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return CheckResult(
            "ros",
            Verdict.FAIL,
            f"the sourced ROS 2 was built for another Python than this {version}",
            "use the system's python3 (with --system-site-packages in a virtual environment)",
        )
    if "RMW" in answer.err or "rmw" in answer.last_line:
        chosen = environment.get("RMW_IMPLEMENTATION", "")
        return CheckResult(
            "ros",
            Verdict.FAIL,
            f"the middleware does not load (RMW_IMPLEMENTATION={chosen!r}): {answer.last_line}",
            "unset RMW_IMPLEMENTATION, or install that middleware",
        )
    return CheckResult(
        "ros",
        Verdict.FAIL,
        f"rclpy does not start: {answer.last_line}",
        f"see all of it: {sys.executable} -c 'import rclpy; rclpy.init()'",
    )


def _ros_found(environment: Mapping[str, str], rmw: str) -> CheckResult:
    distro = environment.get("ROS_DISTRO", "")
    wheels = _wheel_distro()
    source = f"ROS 2 {distro}" if distro else f"ROS 2 {wheels or 'of unknown name'}"
    if wheels:
        source += " (wheels)"
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE")
    if reach is None and environment.get("ROS_LOCALHOST_ONLY") == "1":
        reach = "LOCALHOST"
    domain = environment.get("ROS_DOMAIN_ID") or "0"
    fact = f"{source}, {rmw}, domain {domain}, discovery {reach or 'SUBNET'}"
    if wheels and distro and wheels != distro:
        return CheckResult(
            "ros",
            Verdict.FAIL,
            f"{fact}; wheels of {wheels} and a sourced {distro} do not go together",
            "use a shell without `source`, or an environment without the wheels",
        )
    return CheckResult("ros", Verdict.OK, fact)


def _wheel_distro() -> str:
    """Return the ROS distribution whose wheels this environment has, empty for none."""
    for found in distributions():
        name = re.fullmatch(r"ros[-_]([a-z]+)[-_]rclpy", (found.metadata["Name"] or "").lower())
        if name:
            return name[1]
    return ""


def transport_check(environment: Mapping[str, str] = os.environ) -> CheckResult:
    """Which Fast DDS profile a process that is started here gets."""
    from segmif_ros.ros.transport import PROFILE_VARIABLES
    from segmif_ros.share import share_path

    if "fastrtps" not in environment.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"):
        fact = f"{environment['RMW_IMPLEMENTATION']}: this package is tested with Fast DDS only"
        return CheckResult(
            "transport", Verdict.WARN, fact, "export RMW_IMPLEMENTATION=rmw_fastrtps_cpp"
        )
    shipped = share_path("config", "fastdds_shm.xml")
    chosen = next((environment[name] for name in PROFILE_VARIABLES if environment.get(name)), None)
    export = " ".join(["export", *(f"{name}={shipped}" for name in PROFILE_VARIABLES)])
    if chosen is None:
        return CheckResult(
            "transport",
            Verdict.WARN,
            "no Fast DDS profile in this shell: segmif_node sets its own, camera drivers and "
            "`ros2 bag play` started here lose large images",
            export,
        )
    path = Path(chosen)
    if not path.is_file():
        return CheckResult(
            "transport", Verdict.FAIL, f"the Fast DDS profile {path} is missing", export
        )
    try:
        sizes = [
            int(element.text or 0)
            for element in ElementTree.parse(path).iter()  # noqa: S314 - the user's own
            if element.tag.endswith("segment_size")
        ]
    except (ElementTree.ParseError, ValueError) as err:
        fact = f"the Fast DDS profile {path} cannot be read: {err}"
        return CheckResult("transport", Verdict.FAIL, fact, export)
    largest = max(sizes, default=0) / _MIB
    if largest < SEGMENT_WANTED_MIB:
        fact = f"the Fast DDS profile {path} has a shared-memory segment of {largest:.1f} MiB"
        return CheckResult("transport", Verdict.WARN, f"{fact}: little for images", export)
    return CheckResult(
        "transport", Verdict.OK, f"{path.name}, shared-memory segment {largest:.0f} MiB"
    )
