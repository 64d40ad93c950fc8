# SPDX-License-Identifier: Apache-2.0
"""Progress in a log file is lines."""

from __future__ import annotations

import pytest

from segmif_ros.cli import command_line


def test_progress_in_a_log_file_is_whole_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "_LOG_S", 1e-6)
    with command_line.progress_bar(total=3, desc="reading") as bar:
        for _ in range(3):
            bar.update()
    written = capsys.readouterr().err
    assert "\r" not in written
    assert written.splitlines()[-1].startswith("reading: 100%")
    assert written.endswith("\n")
    monkeypatch.setattr(command_line, "_LOG_S", 60.0)
    with command_line.progress_bar(total=1) as bar:
        bar.update()
    assert capsys.readouterr().err == ""
