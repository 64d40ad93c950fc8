# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import os
import runpy
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import setuptools
from optional_packages import OPTIONAL

from segmif_ros.bundle import Bundle
from segmif_ros.interrupts import STOP_SIGNALS

with suppress(ImportError):  # colcon test runs without what only pip has
    from hypothesis import settings

    settings.register_profile("quick", max_examples=60, deadline=None, derandomize=True)
    settings.register_profile("long", max_examples=3000, deadline=None)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

REPOSITORY = Path(__file__).resolve().parent.parent

# A run that a shell started in the background ignores Ctrl-C, one under nohup ignores SIGHUP. So
# would every process that the tests start; what these signals do is tested.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    """Collect a file as pytest itself does.

    The plugin of launch_testing, which is part of ROS, would import it first to look for launch
    tests, by its bare name: one import that fails, or a second file of that name, ends the run.
    """
    return pytest.Module.from_parent(parent, path=module_path)


def pytest_collection_finish() -> None:
    """Leave what the imports of all test files made out of garbage collection from here on.

    A full collection, and every test of the stand-in GPU runs one, would else look through
    millions of objects that stay: 0.6 s of processor time a time.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Skip a file, and say why, where what it imports is optional and not installed."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and isinstance(collector, pytest.Module):
        err = report.call.excinfo.value
        while err is not None and not isinstance(err, ModuleNotFoundError):
            err = err.__cause__
        missing = (err.name or "").partition(".")[0] if err is not None else ""
        if missing in OPTIONAL:
            report.outcome = "skipped"
            report.longrepr = (str(collector.path), 1, f"Skipped: {missing} is not installed")


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Put the handlers back: a verb that runs here leaves its own, as at the end of a process."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a 480x640 bundle with answers known in closed form (see tiny_model.py)."""
    pytest.importorskip("onnx", reason="needs onnx: pip install 'segmif_ros[cpu]'")
    from tiny_model import write_tiny_bundle

    return write_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def loaded_bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.load(tiny_bundle)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real pairs beside the checkout; tests that need it are skipped without."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the development data (../shared/data) is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Numbers the published network must reproduce; tests that need them are skipped without."""
    path = REPOSITORY.parent / "shared" / "reference"
    if not path.is_dir():
        pytest.skip("the numeric reference (../shared/reference) is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def setup_recipe() -> dict[str, Any]:
    """What setup.py passes to setuptools."""
    told: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        patch.setattr(setuptools, "setup", lambda **words: told.update(words))
        runpy.run_path(str(REPOSITORY / "setup.py"))
    return told
