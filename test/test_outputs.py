# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from segmif_ros.outputs import (
    MARKER,
    OutputError,
    own_folder,
    require_absent,
    require_disjoint,
    write_whole,
)


def fill(folder: Path, *names: str, inputs: tuple[Path, ...] = ()) -> None:
    with own_folder(folder, names, inputs):
        for name in names:
            write_whole(folder / name, name)


def test_a_folder_is_used_again_by_who_made_it(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    fill(out, "a.json")
    (out / "mine.txt").write_text("mine")
    fill(out, "a.json", "b.json")
    fill(out, "a.json")
    assert sorted(p.name for p in out.iterdir()) == [MARKER, "a.json", "b.json", "mine.txt"]
    assert [line for line in (out / MARKER).read_text().splitlines() if line[0] != "#"] == [
        "a.json",
        "b.json",
    ]


@pytest.mark.parametrize("kind", ["file", "folder", "link", "broken link"])
def test_what_none_of_our_commands_made_is_in_the_way(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    there = out / "pictures"
    if kind == "folder":
        there.mkdir()
        (there / "000_visible.jpg").write_text("mine")
    elif kind == "file":
        there.write_text("mine")
    else:
        target = tmp_path / "elsewhere"
        if kind == "link":
            target.mkdir()
        there.symlink_to(target)
    with pytest.raises(OutputError, match=r"pictures is (there already|a link)"):
        fill(out, "report.json", "pictures")
    assert [path.name for path in out.iterdir()] == ["pictures"]


def test_a_link_in_place_of_our_own_file_is_refused(tmp_path: Path) -> None:
    out, target = tmp_path / "out", tmp_path / "target"
    fill(out, "a.json")
    target.write_text("mine")
    (out / "a.json").unlink()
    (out / "a.json").symlink_to(target)
    with pytest.raises(OutputError, match="is a link"):
        fill(out, "a.json")
    assert target.read_text() == "mine"


@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "text"])
def test_a_marker_of_another_user_stays(tmp_path: Path, kind: str) -> None:
    marker, target = tmp_path / MARKER, tmp_path / "target"
    target.write_text("mine")
    if kind == "link":
        marker.symlink_to(target)
    elif kind == "folder":
        marker.mkdir()
    elif kind == "fifo":
        os.mkfifo(marker)
    else:
        marker.write_text("mine")
    with pytest.raises(OutputError, match="no marker of ours"):
        fill(tmp_path, "a.json")
    assert target.read_text() == "mine"
    assert not (tmp_path / "a.json").exists()
    assert kind != "text" or marker.read_text() == "mine"


def test_two_commands_do_not_share_a_folder(tmp_path: Path) -> None:
    with own_folder(tmp_path, ["a"]), pytest.raises(OutputError, match="another command is"):
        fill(tmp_path, "b")
    fill(tmp_path, "b")


def test_inputs_and_results_lie_apart(tmp_path: Path) -> None:
    bag, out = tmp_path / "bag", tmp_path / "out"
    (bag / "deep").mkdir(parents=True)
    (out / "pictures" / "mine").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(bag)
    for folder in (bag, bag / "deep" / "report", link, link / "report"):
        with pytest.raises(OutputError, match="would become part of it"):
            require_disjoint(folder, ["pictures"], [bag])
    with pytest.raises(OutputError, match="would become part of it"):
        require_disjoint(out, ["pictures"], [out])
    for source in (out / "pictures", out / "pictures" / "mine"):
        with pytest.raises(OutputError, match="lies where results go"):
            require_disjoint(out, ["report.json", "pictures"], [source])
    with pytest.raises(OutputError, match="lies where results go"):
        require_disjoint(tmp_path, (), [bag])
    require_disjoint(tmp_path, ["pictures"], [bag, None, tmp_path / "no such", out])


def test_a_file_is_written_whole_and_beside_links(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "file"
    target.write_text("mine")
    path.symlink_to(target)
    write_whole(path, b"new")
    assert (path.read_bytes(), path.is_symlink(), target.read_text()) == (b"new", False, "mine")
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "file", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", "text")
    assert not list(tmp_path.glob(".*part"))
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_earlier_result_is_refused_where_the_command_says_so(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    with (
        pytest.raises(OutputError, match=r"a exists already; --force"),
        own_folder(tmp_path, ["a"], refused=["a"], advice="--force replaces it"),
    ):
        pass
    with own_folder(tmp_path, ["a"]):
        pass
    (tmp_path / "empty").mkdir()
    require_absent(tmp_path / "empty")
    require_absent(tmp_path / "none")
    (tmp_path / "link").symlink_to(tmp_path / "none")
    for name in ("a", "link"):
        with pytest.raises(OutputError, match="exists already"):
            require_absent(tmp_path / name)
