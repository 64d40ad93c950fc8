# SPDX-License-Identifier: Apache-2.0
"""Checks of `segmif doctor` on the machine: Python, NumPy, engines, GPU, shared memory."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from segmif_ros.doctor.check_result import CheckResult, Verdict, ask_python
from segmif_ros.share import install_command

RUNTIMES = {"openvino": "cpu", "onnxruntime": "cpu", "tensorrt": "gpu"}
"""Python package of each engine, and the extra that brings it."""
BUILDER = "tensorrt_rtx"
"""Builds engines for other machines as well, so that it alone is no engine for this one."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Fast DDS keeps its segments
SMALL_SHARED_MEMORY_MIB = 256
"""Docker gives 64 MiB; one image process with the profile takes 17."""
MOST_LEFT_BEHIND = 0.25
"""Part of the shared memory that segments of dead processes may hold without a WARN."""
DEVICE_FILES = (Path("/dev/nvidiactl"), Path("/dev/nvhost-gpu"))
"""One of them is there when a driver is loaded: on a PC, on a Jetson."""

_NVIDIA = "0x10de"
_MIB = 1024 * 1024
_IMPORTS = """
import importlib, importlib.util, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        # What else than the CPU an onnxruntime can compute on.
        parts = [part.replace("ExecutionProvider", "")
                 for part in getattr(module, "get_available_providers", list)()]
        parts = [part for part in parts if part in ("CUDA", "Tensorrt")]
        if name == "onnxruntime" and importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx"):
            parts.append("TensorRT for RTX")
        if name == "openvino" and hasattr(module, "Core"):
            parts += [device for device in module.Core().available_devices if device != "CPU"]
        # OpenVINO adds its build to its version.
        version = str(getattr(module, "__version__", "")).split("-")[0]
        found[name] = ["ok", version + (" with " + " and ".join(parts) if parts else "")]
    except ModuleNotFoundError as err:
        found[name] = ["absent" if err.name == name else "broken", str(err)]
    except Exception as err:
        found[name] = ["broken", f"{type(err).__name__}: {err}"]
print(json.dumps(found))
"""
_DRIVER = """
import json
from segmif_ros.engines.driver import DriverError, ask_driver
try:
    driver = ask_driver()
    found = {"problem": "", "cuda": driver.cuda, "release": driver.release}
    found["names"] = [gpu.name for gpu in driver.gpus]
except DriverError as err:
    found = {"problem": str(err), "names": []}
print(json.dumps(found))
"""


def python_check() -> CheckResult:
    """Which Python runs this, and whether `ros2 run` and `ros2 launch` would take the same."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    where = "system Python"
    if sys.prefix != sys.base_prefix:
        where = f"virtual environment {sys.prefix}"
    fact = f"{version}, {where}"
    other = shutil.which("python3")
    if other is None or shutil.which("ros2") is None or _same_environment(other):
        return CheckResult("python", Verdict.OK, fact)
    wanted = ("segmif_ros", "numpy", "cv2")
    answer = ask_python(_IMPORTS, *wanted, python=other)
    states = _states(answer.out)
    missing = [name for name in wanted if states.get(name, ["absent"])[0] != "ok"]
    if not missing:
        return CheckResult("python", Verdict.OK, f"{fact}; python3 on the PATH is {other}")
    return CheckResult(
        "python",
        Verdict.WARN,
        f"{fact}; but python3 on the PATH, which `ros2 run` and `ros2 launch` start, is {other} "
        f"and lacks {', '.join(missing)}",
        f"activate this environment first, or {other} -m pip install segmif_ros there",
    )


def numpy_check() -> CheckResult:
    """Whether NumPy and OpenCV were built for each other."""
    answer = ask_python(_IMPORTS, "numpy", "cv2")
    states = _states(answer.out)
    for name in ("numpy", "cv2"):
        state, detail = states.get(name, ["broken", answer.last_line])
        if answer.late:
            fact = f"numpy and cv2 were not imported: {answer.err}"
            return CheckResult("numpy", Verdict.WARN, fact, _slow_import("numpy, cv2"))
        if state != "ok":
            return CheckResult(
                "numpy",
                Verdict.FAIL,
                f"{name} cannot be imported: {detail}",
                "pip install --force-reinstall 'numpy<3' opencv-python-headless",
            )
    facts = f"numpy {states['numpy'][1]}, OpenCV {states['cv2'][1]}"
    return CheckResult("numpy", Verdict.OK, facts)


def engines_check() -> CheckResult:
    """Which engines can run, and why the others cannot."""
    texts, usable, broken, remedies = [], [], [], []
    steps = []
    with ThreadPoolExecutor() as pool:
        # Each alone: one that crashes must not hide the others.
        answers = list(pool.map(lambda name: ask_python(_IMPORTS, name), (*RUNTIMES, BUILDER)))
    state, detail = _states(answers.pop().out).get(BUILDER, ["absent", ""])
    builder = "" if state == "absent" else f"; {BUILDER} {detail}"
    for (name, extra), answer in zip(RUNTIMES.items(), answers, strict=True):
        state, detail = _states(answer.out).get(name, ["broken", answer.last_line])
        if state == "ok":
            usable.append(name)
            texts.append(f"{name} {detail}".strip())
        else:
            texts.append(f"{name}: " + ("not installed" if state == "absent" else detail))
            broken += [name] if state == "broken" and not answer.late else []
            steps += [_slow_import(name)] if answer.late else []
            remedies.append(_slow_import(name) if answer.late else install_command(extra))
    fact = "; ".join(texts) + builder
    if not usable:
        return CheckResult("engines", Verdict.FAIL, fact, remedies[0])
    if broken:
        steps.append(f"reinstall {', '.join(broken)}")
    if steps:
        remedy = f"{'; '.join(steps)}, or choose engine:={usable[0]}"
        return CheckResult("engines", Verdict.WARN, fact, remedy)
    return CheckResult("engines", Verdict.OK, fact)


def _slow_import(names: str) -> str:
    return (
        f"a slow import is no broken installation: try again when the machine is idle, or see how "
        f"long it takes: time {sys.executable} -c 'import {names}'"
    )


def gpu_check(devices: Path = Path("/sys/bus/pci/devices")) -> CheckResult:
    """Whether there is an NVIDIA GPU, and a driver that can use it."""
    answer = ask_python(_DRIVER)
    # A broken driver can end the process that queries it.
    found = (
        json.loads(answer.out) if answer.code == 0 else {"names": [], "problem": answer.last_line}
    )
    if found["names"]:
        names, version = ", ".join(found["names"]), ".".join(map(str, found["cuda"]))
        driver = f"driver {found['release']}".strip()
        return CheckResult("gpu", Verdict.OK, f"{names}; {driver} for CUDA {version}")
    if not _has_nvidia_device(devices):
        return CheckResult("gpu", Verdict.OK, "no NVIDIA GPU: engines run on the CPU")
    return CheckResult(
        "gpu",
        Verdict.WARN,
        f"an NVIDIA GPU that cannot be used: {found['problem']}",
        "run nvidia-smi; install the driver, or reboot after it was updated",
    )


def shared_memory_check(folder: Path = SHARED_MEMORY) -> CheckResult:
    """Whether killed processes left Fast DDS segments behind, and whether there is room."""
    if not folder.is_dir():
        return CheckResult(
            "shm",
            Verdict.WARN,
            f"no {folder}: images go through the network stack",
            f"mount a tmpfs on {folder}",
        )
    from segmif_ros.ros.transport import dead_segments

    dead = [path for path in dead_segments(folder, youngest_s=0.0) if path.exists()]
    size = sum(path.stat().st_size for path in dead) / _MIB
    room = os.statvfs(folder)
    total, free = (room.f_frsize * n / _MIB for n in (room.f_blocks, room.f_bavail))
    fact = f"{free:.0f} of {total:.0f} MiB free in {folder}"
    left = f"{len(dead)} Fast DDS segment(s) of killed processes hold {size:.0f} MiB"
    if dead and (free < SMALL_SHARED_MEMORY_MIB or size > MOST_LEFT_BEHIND * total):
        verdict = Verdict.FAIL if free < SMALL_SHARED_MEMORY_MIB / 4 else Verdict.WARN
        return CheckResult("shm", verdict, f"{left}; {fact}", _removal(dead))
    if total < SMALL_SHARED_MEMORY_MIB:
        remedy = "start the container with --shm-size=1g or --ipc=host"
        return CheckResult("shm", Verdict.WARN, f"{fact}: little for images", remedy)
    return CheckResult("shm", Verdict.OK, f"{fact}, {left if dead else 'nothing left behind'}")


def _removal(dead: Sequence[Path]) -> str:
    """Return a command that removes these segments alone: the others are in use."""
    tool = _beside_python("fastdds")
    if tool:
        return f"{tool} shm clean"
    files = [str(path) for each in dead for path in (each, each.with_name(f"{each.name}_el"))]
    return f"rm {shlex.join(files)}"


def _same_environment(python: str) -> bool:
    """Return whether an interpreter is ours: in a virtual environment the folder decides."""
    return Path(python).parent.resolve() == Path(sys.executable).parent.resolve()


def _states(out: str) -> dict[str, list[str]]:
    """Read what `_IMPORTS` printed; a library may have printed lines before it."""
    lines = [line for line in out.splitlines() if line.startswith("{")]
    return dict(json.loads(lines[-1])) if lines else {}


def _has_nvidia_device(devices: Path) -> bool:
    if any(path.exists() for path in DEVICE_FILES):
        return True
    vendors = (path.read_text().strip() for path in devices.glob("*/vendor"))
    return _NVIDIA in vendors


def _beside_python(name: str) -> str:
    """Return the path of a program on the PATH or beside the interpreter, empty for none."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent)) or ""
