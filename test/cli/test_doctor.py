# SPDX-License-Identifier: Apache-2.0
"""`segmif doctor` on broken machines: stand-ins on disk for what would be installed or missing."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segmif_ros.cli import doctor
from segmif_ros.cli.main import main
from segmif_ros.doctor import machine_checks, ros_checks
from segmif_ros.doctor.check_result import (
    Answer,
    CheckResult,
    Verdict,
    as_json,
    as_text,
    ask,
    ask_python,
)
from segmif_ros.doctor.machine_checks import (
    engines_check,
    gpu_check,
    numpy_check,
    python_check,
    shared_memory_check,
)
from segmif_ros.doctor.ros_checks import ros_check, transport_check

ABSENT = 'raise ModuleNotFoundError("No module named {0!r}", name={0!r})'
NUMPY_1 = (
    "import sys\nsys.stderr.write('AttributeError: _ARRAY_API not found\\n'); sys.stderr.flush()\n"
    "raise ImportError('numpy.core.multiarray failed to import')"
)
GPU = {"problem": "", "cuda": [12, 6], "release": "540.4.0", "names": ["Orin"]}
DEVICE = {"0000:01:00.0/vendor": "0x10de\n"}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put modules on the PYTHONPATH of the processes that are asked."""

    def install(**modules: str) -> Path:
        folder = tmp_path / "modules"
        folder.mkdir(exist_ok=True)
        for name, code in modules.items():
            (folder / f"{name}.py").write_text(code.format(name) + "\n")
        monkeypatch.setenv("PYTHONPATH", str(folder))
        return folder

    return install


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_verb_without_ros_numpy_1_and_engines(stand_in):
    folder = stand_in(
        rclpy=ABSENT, cv2=NUMPY_1, onnxruntime=ABSENT, openvino="raise RuntimeError('no AVX')"
    )
    command = [sys.executable, "-m", "segmif_ros.cli.main", "doctor", "--json"]
    home = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(folder), str(home)])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONPATH": path, "AMENT_PREFIX_PATH": ""},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    found = {row["check"]: row for row in json.loads(done.stdout)}
    assert list(found) == ["ros", "cameras", "python", "numpy", "engines", "gpu", "shm"]
    assert found["ros"]["verdict"] == "FAIL"
    assert "installed and not sourced" in found["ros"]["fact"] or "no ROS 2" in found["ros"]["fact"]
    assert found["cameras"]["fact"] == "not checked: that needs ROS 2"
    assert found["numpy"]["verdict"] == "FAIL"
    assert "cv2 cannot be imported" in found["numpy"]["fact"]
    assert "opencv-python-headless" in found["numpy"]["remedy"]
    assert found["engines"]["verdict"] == "FAIL"
    assert "openvino: RuntimeError: no AVX; onnxruntime: not installed" in found["engines"]["fact"]
    assert "Traceback" not in done.stderr


def test_it_starts_in_a_python_with_nothing_installed():
    home = Path(__file__).resolve().parents[2]
    code = f"import sys; sys.path.insert(0, {str(home)!r}); import segmif_ros.cli.doctor"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ros_that_is_not_sourced(stand_in, tmp_path):
    stand_in(rclpy=ABSENT)
    opt = write(tmp_path / "opt", {"humble/setup.bash": "", "jazzy/setup.bash": "", "junk/x": ""})
    found = ros_check({}, opt)
    assert found.verdict is Verdict.FAIL
    assert "ROS 2 humble, jazzy is installed and not sourced" in found.fact
    assert found.remedy == f"source {opt}/jazzy/setup.bash"
    assert "pip install" in ros_check({"AMENT_PREFIX_PATH": "/opt/ros/jazzy"}, opt).remedy
    assert "no ROS 2 here" in ros_check({}, tmp_path / "nothing").fact


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError(\"No module named 'rclpy._rclpy_pybind11'\")", "another Python"),
        ("raise RuntimeError('failed to load RMW library')", "middleware does not load"),
        ("raise RuntimeError('_rclpy_pybind11 is in every traceback')", "rclpy does not start"),
        ("raise OSError('libspdlog.so: cannot open')", "libspdlog.so: cannot open"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal 11"),
    ],
)
def test_ros_that_does_not_start_says_why(stand_in, tmp_path, code, words):
    stand_in(rclpy=code)
    found = ros_check({"AMENT_PREFIX_PATH": "/opt/ros/jazzy"}, tmp_path)
    assert found.verdict is Verdict.FAIL
    assert words in found.fact
    assert found.remedy


def test_ros_from_wheels_and_from_a_sourced_folder_do_not_mix(monkeypatch):
    monkeypatch.setattr(ros_checks, "ask_python", lambda _: Answer(0, "rmw_x\n", ""))
    monkeypatch.setattr(ros_checks, "_wheel_distro", lambda: "jazzy")
    fine = ros_check({"ROS_DOMAIN_ID": "7", "ROS_LOCALHOST_ONLY": "1"})
    assert fine.verdict is Verdict.OK
    assert fine.fact == "ROS 2 jazzy (wheels), rmw_x, domain 7, discovery LOCALHOST"
    assert ros_check({"ROS_DISTRO": "jazzy"}).verdict is Verdict.OK
    mixed = ros_check({"ROS_DISTRO": "humble"})
    assert mixed.verdict is Verdict.FAIL
    assert "wheels of jazzy and a sourced humble" in mixed.fact


@pytest.mark.parametrize(
    ("domain", "good"), [("", True), ("232", True), ("233", False), ("x", False)]
)
def test_the_domain_must_be_one(monkeypatch, domain, good):
    monkeypatch.setattr(ros_checks, "ask_python", lambda _: Answer(0, "rmw_x\n", ""))
    found = ros_check({"ROS_DOMAIN_ID": domain})
    assert (found.verdict is Verdict.OK) == good
    assert good or f"ROS_DOMAIN_ID is {domain!r}" in found.fact


PROFILE = "<profiles><t><segment_size>{}</segment_size></t></profiles>"


@pytest.mark.parametrize(
    ("text", "verdict", "words"),
    [
        (PROFILE.format(16 * 2**20), Verdict.OK, "shared-memory segment 16 MiB"),
        (PROFILE.format(2**19), Verdict.WARN, "segment of 0.5 MiB"),
        ("<profiles/>", Verdict.WARN, "segment of 0.0 MiB"),
        ("<profiles>", Verdict.FAIL, "cannot be read"),
        (PROFILE.format("big"), Verdict.FAIL, "cannot be read"),
        (None, Verdict.FAIL, "is missing"),
    ],
)
def test_the_fast_dds_profile_in_force(tmp_path, text, verdict, words):
    path = tmp_path / "profile.xml"
    if text is not None:
        path.write_text(text)
    found = transport_check({"FASTDDS_DEFAULT_PROFILES_FILE": str(path)})
    assert found.verdict is verdict
    assert words in found.fact
    if verdict is not Verdict.OK:
        assert found.remedy.startswith("export FASTRTPS_DEFAULT_PROFILES_FILE=")
        assert "config/fastdds_shm.xml" in found.remedy


def test_without_a_profile_or_with_another_middleware():
    assert transport_check({}).verdict is Verdict.WARN
    other = transport_check({"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"})
    assert other.verdict is Verdict.WARN
    assert "rmw_fastrtps_cpp" in other.remedy


def programs(folder: Path, **code: str) -> Path:
    for name, text in code.items():
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{text}\n")
        path.chmod(0o755)
    return folder


def test_ros2_would_start_another_python(tmp_path, monkeypatch):
    bare = (
        "import json; print('noise'); print(json.dumps({'numpy': ['ok', '1'], 'cv2': ['ok', '']}))"
    )
    programs(tmp_path, ros2="", python3=bare)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = python_check()
    assert found.verdict is Verdict.WARN
    assert f"{tmp_path}/python3 and lacks segmif_ros" in found.fact
    (tmp_path / "ros2").unlink()
    assert python_check().verdict is Verdict.OK, "without ros2 no python3 is started"
    programs(tmp_path, ros2="", python3=bare.replace("'cv2'", "'segmif_ros': ['ok', ''], 'cv2'"))
    assert python_check().verdict is Verdict.OK


def test_numpy_and_an_opencv_that_ends_the_process(stand_in):
    stand_in(numpy="__version__ = '2.4'", cv2="__version__ = '5.0'")
    assert numpy_check().verdict is Verdict.OK
    assert numpy_check().fact == "numpy 2.4, OpenCV 5.0"
    stand_in(cv2="import os; os.abort()")
    assert "ended by signal 6" in numpy_check().fact
    stand_in(cv2="", numpy="raise ImportError('numpy was torn apart')")
    found = numpy_check()
    assert found.verdict is Verdict.FAIL
    assert "numpy was torn apart" in found.fact


def test_an_engine_that_crashes_hides_no_other(stand_in):
    stand_in(
        openvino="import os; os.abort()",
        onnxruntime="__version__ = '1.2.3'",
        tensorrt=ABSENT,
        tensorrt_rtx="__version__ = '1.7.1'",
    )
    found = engines_check()
    assert found.verdict is Verdict.WARN
    expected = "openvino: ended by signal 6; onnxruntime 1.2.3; tensorrt: not installed"
    assert found.fact == f"{expected}; tensorrt_rtx 1.7.1"
    assert "engine:=onnxruntime" in found.remedy


def test_an_engine_that_is_imported_slowly_is_not_to_be_reinstalled(monkeypatch):
    def answer(_: str, name: str) -> Answer:
        if name == "openvino":
            return ask_python("import time; time.sleep(9)", seconds=0.1)
        return Answer(0, json.dumps({name: ["ok", "1.2.3"]}), "")

    monkeypatch.setattr(machine_checks, "ask_python", answer)
    found = engines_check()
    assert found.verdict is Verdict.WARN
    assert found.fact.startswith("openvino: no answer in 0.1 s; onnxruntime 1.2.3; ")
    assert "reinstall" not in found.remedy
    assert f"time {sys.executable} -c 'import openvino'" in found.remedy
    assert "engine:=onnxruntime" in found.remedy


def test_an_onnxruntime_that_can_use_a_gpu_says_so(stand_in):
    parts = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    stand_in(
        onnxruntime=f"__version__ = '1.2.3'\ndef get_available_providers(): return {parts}",
        openvino=(
            "__version__ = '2026.4.1-22982-abc'\n"
            "class Core: available_devices = ['CPU', 'GPU.0', 'NPU']"
        ),
        tensorrt=ABSENT,
    )
    found = engines_check()
    assert found.verdict is Verdict.OK
    assert found.fact.startswith(
        "openvino 2026.4.1 with GPU.0 and NPU; onnxruntime 1.2.3 with Tensorrt and CUDA; "
    )


@pytest.mark.parametrize(
    ("answer", "files", "verdict", "words"),
    [
        (GPU, DEVICE, Verdict.OK, "Orin; driver 540.4.0 for CUDA 12.6"),
        (GPU | {"release": ""}, DEVICE, Verdict.OK, "Orin; driver for CUDA 12.6"),
        ({"problem": "CUDA error 803", "names": []}, DEVICE, Verdict.WARN, "CUDA error 803"),
        (None, DEVICE, Verdict.WARN, "ended by signal 11"),
        (None, {"0000:00:02.0/vendor": "0x8086\n"}, Verdict.OK, "no NVIDIA GPU"),
        ({"problem": "finds no GPU", "names": []}, {}, Verdict.OK, "no NVIDIA GPU"),
    ],
    ids=["good", "no release", "mismatch", "crash", "other vendor", "driver alone"],
)  # fmt: skip
def test_gpu_and_driver(tmp_path, monkeypatch, answer, files, verdict, words):
    said = Answer(-11, "", "") if answer is None else Answer(0, json.dumps(answer), "")
    monkeypatch.setattr(machine_checks, "ask_python", lambda _: said)
    monkeypatch.setattr(machine_checks, "DEVICE_FILES", ())
    found = gpu_check(write(tmp_path, files))
    assert found.verdict is verdict
    assert words in found.fact


def test_the_question_about_the_gpu_ends_well_on_this_machine():
    answer = ask_python(machine_checks._DRIVER)
    told = json.loads(answer.out)
    assert bool(told["names"]) is not bool(told["problem"])


def room(total_mib: int, free_mib: int) -> Any:
    sizes = (total_mib * 256, free_mib * 256, free_mib * 256)
    return os.statvfs_result((4096, 4096, *sizes, 0, 0, 0, 0, 255))


SEGMENTS = (("fastrtps", "a"), ("fastdds", "b"), ("fastrtps", "c"), ("fastrtps", "d"))


@pytest.mark.parametrize(
    ("total", "free", "verdict"),
    [
        (24_000, 20_000, Verdict.OK),
        (24_000, 200, Verdict.WARN),
        (24_000, 60, Verdict.FAIL),
        (7, 5, Verdict.FAIL),
        (64, 62, Verdict.FAIL),
        (64, 64, Verdict.WARN),
    ],
)
def test_segments_of_killed_processes(tmp_path, monkeypatch, total, free, verdict):
    """What they hold matters where it is missing; 124 MiB of 24 GiB are not."""
    monkeypatch.setattr(machine_checks.os, "statvfs", lambda _: room(total, free))
    owned, dead, gone, other = (f"{kind}_{digit:0>16}" for kind, digit in SEGMENTS)
    names = (owned, dead, gone, "fastrtps_port7411")
    write(tmp_path, {f"{name}_el": "" for name in names})
    for name in names:
        (tmp_path / name).write_bytes(bytes(2**20))
    (tmp_path / f"{other}_el").write_text("")
    with (tmp_path / f"{owned}_el").open("rb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        found = shared_memory_check(tmp_path)
        assert found.verdict is verdict
        assert "2 Fast DDS segment(s) of killed processes hold 2 MiB" in found.fact
        monkeypatch.setattr(machine_checks, "_beside_python", lambda _: "")
        command = shared_memory_check(tmp_path).remedy
        assert bool(command) == (verdict is not Verdict.OK)
        if command:
            subprocess.run(command, shell=True, check=True)  # noqa: S602 - as a person would
            left = {path.name.removesuffix("_el") for path in tmp_path.iterdir()}
            assert left == {owned, "fastrtps_port7411", other}, "others live"


def test_shared_memory_that_is_missing_small_or_fine(tmp_path, monkeypatch):
    assert shared_memory_check(tmp_path / "none").verdict is Verdict.WARN
    assert shared_memory_check(tmp_path).verdict is Verdict.OK

    monkeypatch.setattr(machine_checks.os, "statvfs", lambda _: room(64, 64))
    found = shared_memory_check(tmp_path)
    assert found.verdict is Verdict.WARN
    assert "64 of 64 MiB free" in found.fact
    assert "--shm-size" in found.remedy


def test_a_question_without_an_answer(tmp_path):
    assert "no answer in 0.2 s" in ask_python("import time; time.sleep(9)", seconds=0.2).err
    assert "nowhere" in ask([str(tmp_path / "nowhere")]).err
    assert ask_python("print('x'); raise ValueError('y')").last_line == "ValueError: y"
    noisy = "[ERROR] [1795357744.968756319] [rcl]: no such RMW, at /project/src/rcl/check.c:154"
    assert Answer(1, "", noisy).last_line == "no such RMW"


RESULTS = [
    CheckResult("ros", Verdict.OK, "there"),
    CheckResult("shm", Verdict.WARN, "left", "clean"),
]


def test_lines_json_and_exit_status(monkeypatch, capsys):
    assert as_text(RESULTS).splitlines() == [
        "OK    ros        there",
        "WARN  shm        left",
        "                 -> clean",
    ]
    assert json.loads(as_json(RESULTS))[1] == {
        "check": "shm", "verdict": "WARN", "fact": "left", "remedy": "clean",
    }  # fmt: skip
    monkeypatch.setattr(doctor, "examine", lambda _: RESULTS)
    assert main(["doctor"]) == 0, "a warning is no verdict"
    assert "-> clean" in capsys.readouterr().out
    worse = [*RESULTS, CheckResult("gpu", Verdict.FAIL, "")]
    monkeypatch.setattr(doctor, "examine", lambda _: worse)
    assert main(["doctor"]) == 3


@pytest.mark.parametrize("seconds", ["0", "61", "soon"])
def test_a_wrong_time_is_named(seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--seconds", seconds])
    assert ended.value.code == 2
    assert seconds in capsys.readouterr().err
