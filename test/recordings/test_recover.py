# SPDX-License-Identifier: Apache-2.0
"""`segmif bag recover`: what can be read of a damaged bag, as a whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
from drive_bags import drive_bag
from rosbags.rosbag2 import Reader

from segmif_ros.cli.main import main
from segmif_ros.recordings.bags import BagError, BagReader, summarize
from segmif_ros.recordings.recover import recover
from segmif_ros.recordings.writer import BagWriter, Definition, string_message


def messages(path: Path) -> list[tuple]:
    with BagReader(path, lambda _: None) as reader:
        return [tuple(message) for message in reader.messages()]


def cut(bag: Path, share: float) -> Path:
    (data,) = [file for file in bag.iterdir() if file.suffix != ".yaml"]
    data.write_bytes(data.read_bytes()[: int(share * data.stat().st_size)])
    return bag


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_cut_off_bag_becomes_one_that_others_read(tmp_path: Path, storage: str, capsys) -> None:
    bag = cut(drive_bag(tmp_path / "drive", 60, storage=storage, compress=False), 0.7)
    before = {file.name: file.read_bytes() for file in bag.iterdir()}
    assert main(["bag", "recover", str(bag), str(tmp_path / "saved")]) == 0
    saved = messages(tmp_path / "saved")
    assert saved == messages(bag)
    assert len(saved) > 70
    said = capsys.readouterr().out
    assert f"{len(saved)} messages in" in said
    assert summarize(tmp_path / "saved").checksums
    assert {file.name: file.read_bytes() for file in bag.iterdir()} == before
    with Reader(tmp_path / "saved") as other:
        assert other.message_count == len(saved)
    assert main(["bag", "info", "--check", str(tmp_path / "saved")]) == 0
    assert main(["bag", "info", "--check", str(bag)]) == 3


def test_types_that_are_unknown_here_and_latching_are_kept(tmp_path: Path) -> None:
    kind = "someones_msgs/msg/Own"
    with BagWriter(tmp_path / "bag") as bag:
        bag.add_topic("/own", kind, definition=Definition("uint8 x\n"))
        bag.write("/own", 5, b"\0\1\0\0\7")
        bag.write_message("/labels", 6, string_message("person"), latched=True)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    found = recover(tmp_path / "bag", tmp_path / "saved")
    assert messages(tmp_path / "saved") == messages(tmp_path / "bag")
    assert [(t.name, t.type, t.latched) for t in found.summary.topics] == [
        ("/labels", "std_msgs/msg/String", True),
        ("/own", kind, False),
    ]
    with BagReader(tmp_path / "saved") as reader:
        texts = {channel.topic: channel.definition for channel in reader.channels()}
    assert texts["/own"] == ("ros2msg", b"uint8 x\n")
    assert len(found.lost) == 1
    assert "no metadata.yaml" in found.lost[0]


def test_what_holds_nothing_or_lies_in_the_way_is_refused(tmp_path: Path) -> None:
    bag = cut(drive_bag(tmp_path / "drive", 20, compress=False), 0.0001)
    with pytest.raises(BagError, match="cannot be read"):
        recover(bag, tmp_path / "saved")
    with pytest.raises(BagError, match="exists already"):
        recover(bag, bag)
    assert [path.name for path in tmp_path.iterdir()] == ["drive"]
