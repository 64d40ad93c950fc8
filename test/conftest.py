# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import runpy
import signal
from pathlib import Path
from typing import Any

import pytest
import setuptools
from tiny_model import write_tiny_bundle

from segmif_ros.bundle import Bundle

REPOSITORY = Path(__file__).resolve().parent.parent

# A run that a shell started in the background ignores Ctrl-C, and so would every process that the
# tests start; what Ctrl-C does is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a 480x640 bundle with answers known in closed form (see tiny_model.py)."""
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
    """What setup.py tells setuptools."""
    told: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        patch.setattr(setuptools, "setup", lambda **words: told.update(words))
        runpy.run_path(str(REPOSITORY / "setup.py"))
    return told
