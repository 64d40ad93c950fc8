# SPDX-License-Identifier: Apache-2.0
"""Shipped files are found in a checkout, in an ament prefix and in a Python environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import segmif_ros.share
from segmif_ros import share
from segmif_ros.share import install_command, share_path

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pretend that the package was installed into tmp_path/python, away from its source."""
    module = tmp_path / "python" / "lib" / "site-packages" / "segmif_ros" / "share.py"
    monkeypatch.setattr(segmif_ros.share, "__file__", str(module))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "python"))
    monkeypatch.setattr("site.USER_BASE", str(tmp_path / "user"))
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    return tmp_path


def provide(prefix: Path, content: str = "x") -> Path:
    path = prefix / "share" / "segmif_ros" / "config" / "segmif.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    return path


def test_a_checkout_uses_its_own_files() -> None:
    assert share_path("config", "labels", "fmb15.yaml").is_relative_to(REPOSITORY)
    assert share_path("config") == REPOSITORY / "config"


def test_a_checkout_wins_over_an_installed_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provide(tmp_path)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert share_path("config", "segmif.yaml").is_relative_to(REPOSITORY)


@pytest.mark.parametrize("prefix", ["python", "user"])
def test_pip_installs_are_found(installed: Path, prefix: str) -> None:
    path = provide(installed / prefix)
    assert share_path("config", "segmif.yaml") == path


def test_the_ament_prefixes_are_searched_in_their_order(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay, underlay = installed / "overlay", installed / "underlay"
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{overlay}::{underlay}")
    provide(installed / "python")
    under = provide(underlay)
    assert share_path("config", "segmif.yaml") == under
    over = provide(overlay)
    assert share_path("config", "segmif.yaml") == over


def test_what_is_nowhere_is_named_with_every_place_that_was_tried(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(installed / "overlay"))
    with pytest.raises(FileNotFoundError) as caught:
        share_path("models", "segmif-nano")
    message = str(caught.value)
    assert "'models/segmif-nano'" in message
    for prefix in ("overlay", "python", "user"):
        assert str(installed / prefix / "share" / "segmif_ros") in message
    assert "reinstall the package" in message


def test_an_extra_is_installed_from_the_clone_or_by_the_names_of_its_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clone = Path(__file__).resolve().parent.parent
    assert install_command("cpu", "rtx").endswith(f"-m pip install -e '{clone}[cpu,rtx]'")
    monkeypatch.setattr(share, "__file__", str(tmp_path / "site-packages" / "segmif_ros" / "x.py"))
    stated = [
        "numpy<3,>=1.24",
        'torch<2.14,>=2.4; extra == "train"',
        'tensorrt-rtx-cu12<2,>=1.7; (platform_machine == "x86_64") and extra == "rtx"',
    ]
    monkeypatch.setattr(share, "requires", lambda _: stated)
    assert install_command("train").endswith("-m pip install 'torch<2.14,>=2.4'")
    assert install_command("rtx").endswith("-m pip install 'tensorrt-rtx-cu12<2,>=1.7'")
