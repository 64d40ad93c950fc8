# SPDX-License-Identifier: Apache-2.0
"""The driver's facts, from a stand-in and from the machine that runs the tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stand_in_cuda import Controls, build_library, controls_of

from segmif_ros.engines.driver import DriverError, Gpu, ask_driver, check, load_driver

RELEASES = [
    ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19", "535.129.03", "535"),
    (
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build",
        "580.65.06",
        "580",
    ),
    (
        "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build",
        "540.4.0",
        "540",
    ),
    ("something else", "", "CUDA 12"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def controls(library: Path) -> Iterator[Controls]:
    found = controls_of(library)
    found.reset()
    yield found
    found.reset()


def test_it_names_the_gpus(library: Path, controls: Controls, tmp_path: Path) -> None:
    controls.reset(gpus=2, integrated=True)
    told = ask_driver(str(library), tmp_path / "absent")
    assert told.gpus == (Gpu("Stand-in GPU", (8, 7), 8192, integrated=True),) * 2
    assert told.cuda == (12, 8)
    assert (told.release, told.major) == ("", "CUDA 12")


@pytest.mark.parametrize(("text", "release", "major"), RELEASES)
@pytest.mark.usefixtures("controls")
def test_the_release_of_the_kernel_module(
    library: Path, tmp_path: Path, text: str, release: str, major: str
) -> None:
    path = tmp_path / "version"
    path.write_text(text + "\n")
    told = ask_driver(str(library), path)
    assert (told.release, told.major) == (release, major)


@pytest.mark.parametrize(
    ("code", "gpus", "words"),
    [
        (100, 1, "finds no GPU; in a container start it with --gpus all"),
        (0, 0, "counts no GPU"),
        (803, 1, "refuses to start with CUDA error 803"),
    ],
)
def test_a_machine_without_a_usable_gpu_says_why(
    library: Path, controls: Controls, code: int, gpus: int, words: str
) -> None:
    controls.reset(init_code=code, gpus=gpus)
    with pytest.raises(DriverError, match=words):
        ask_driver(str(library))


def test_no_driver_is_an_answer(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"no NVIDIA driver .*install it"):
        ask_driver(str(tmp_path / "libcuda.so.1"))
    broken = tmp_path / "libcuda.so.1"
    broken.write_bytes(b"not a library")
    with pytest.raises(DriverError, match="no NVIDIA driver"):
        ask_driver(str(broken))


def test_an_older_driver_is_named_by_what_it_lacks(library: Path, controls: Controls) -> None:
    controls.fail("cuDeviceGetCount", 2)
    with pytest.raises(DriverError, match="failed with CUDA error 2 CUDA_ERROR_OUT_OF_MEMORY"):
        ask_driver(str(library))
    with pytest.raises(DriverError, match="has no cuFromTheFuture; install a newer one"):
        check(load_driver(str(library)), "cuFromTheFuture")


def test_the_question_never_ends_the_process() -> None:
    """On whatever machine this runs: an answer or a DriverError, in a process of its own."""
    code = (
        "from segmif_ros.engines.driver import DriverError, ask_driver\n"
        "try:\n    print('gpu', ask_driver().gpus[0].name)\n"
        "except DriverError as err:\n    print('none', err)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("gpu ", "none "))
