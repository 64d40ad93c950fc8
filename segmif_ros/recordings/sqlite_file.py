# SPDX-License-Identifier: Apache-2.0
"""Reads a rosbag2 database (.db3) by its time index or, where damaged, row by row."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw

from segmif_ros.files import open_file
from segmif_ros.recordings.storage import (
    END_OF_TIME_NS,
    BagError,
    Channel,
    StorageKind,
    ros_type,
)

_JOURNALS = ("-journal", "-wal")
_HEADER = b"SQLite format 3\0"
_WHOLE_PAGES = "segmif-whole-pages"
_DAMAGE = (apsw.Error, UnicodeDecodeError)
"""Errors of apsw for damaged pages and invalid text."""

_MOST_GAPS = 60
"""Damaged pages that are skipped, in steps that double."""


class _WholePages(apsw.VFS):
    """Truncates an incomplete file to its last complete page.

    SQLite reads the missing part of a page as zeros, and messages would contain them.
    """

    def __init__(self) -> None:
        super().__init__(_WHOLE_PAGES, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _WholePagesFile("", name, flags)


class _WholePagesFile(apsw.VFSFile):
    def xFileSize(self) -> int:  # noqa: N802
        size = super().xFileSize()
        (page,) = struct.unpack(">H", self.xRead(2, 16)) if size >= len(_HEADER) + 2 else (1,)
        # 1 stands for 65536, which two bytes cannot hold.
        return size - size % (65536 if page == 1 else max(page, 512))


_VFS = _WholePages()


class SqliteFile:
    """A `Storage`. SQLite has no checksums of contents, so only damage to its tree is detected."""

    kind: StorageKind = "sqlite3"
    checksums = False

    def __init__(self, path: Path, name: str = "") -> None:
        """Open the database, or a copy if a journal is beside it: SQLite would change the file.

        Args:
            path: the file.
            name: for messages, if `path` is a temporary copy.

        Raises:
            BagError: no database, or not one of rosbag2.
            OSError: it cannot be opened.
        """
        self._name = name or path.name
        self._copy: TemporaryDirectory[str] | None = None
        self.damage: list[str] = []
        with open_file(path) as file:
            begin = file.read(len(_HEADER))
        if not begin:
            raise BagError(f"{self._name} is empty (0 bytes); copy it again or leave it out")
        if begin != _HEADER:
            raise BagError(f"{self._name} is no SQLite database; it begins with {begin.hex(' ')}")
        journals = [
            f for s in _JOURNALS if (f := Path(f"{path}{s}")).is_file() and f.stat().st_size
        ]
        if journals:
            self._copy = TemporaryDirectory(prefix="segmif-bag-")
            for file_ in (path, *journals):
                shutil.copyfile(file_, Path(self._copy.name, file_.name))
            self.damage.append(
                f"{self._name} was not completed (its recorder was killed): what "
                f"{journals[0].name} says was applied to a copy"
            )
            path = Path(self._copy.name, path.name)
        mode = apsw.SQLITE_OPEN_READWRITE if journals else apsw.SQLITE_OPEN_READONLY
        uri = path.resolve().as_uri() + ("" if journals else "?immutable=1")
        vfs = None if journals else _WHOLE_PAGES
        self._db = apsw.Connection(uri, flags=mode | apsw.SQLITE_OPEN_URI, vfs=vfs)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database and remove the copy."""
        self._db.close()
        if self._copy is not None:
            self._copy.cleanup()

    def messages(
        self, channels: Collection[int], start_ns: int, stop_ns: int
    ) -> Iterator[tuple[int, int, bytes]]:
        """See `Storage.messages`."""
        wanted = frozenset(channels)
        numbers = ",".join(str(int(channel)) for channel in wanted)
        where = (
            f"WHERE topic_id IN ({numbers}) AND timestamp >= {start_ns} AND timestamp < {stop_ns}"
        )
        last_ns = self.start_ns
        try:
            for channel, time_ns, data in self._torn_rows() if self._torn else self._rows(where):
                if channel in wanted and start_ns <= time_ns < stop_ns:
                    if time_ns < last_ns and not self.damage:
                        self.damage.append(
                            f"{self._name} is damaged: its index of recording times is not that "
                            "of its messages; some may be missing, and they are out of order"
                        )
                    last_ns = time_ns
                    yield channel, time_ns, data
        except _DAMAGE as err:
            after = (last_ns - self.start_ns) / 1e9
            self.damage.append(
                f"{self._name} is damaged ({err}): everything after {after:.1f} s is lost"
            )

    def _rows(self, where: str) -> Iterator[tuple[int, int, bytes]]:
        query = "SELECT topic_id, timestamp, data FROM messages"
        yield from _sound(self._db.execute(f"{query} {where} ORDER BY timestamp"))

    def _torn_rows(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield rows by number without an index; skip damaged pages."""
        query = "SELECT topic_id, timestamp, data, id FROM messages NOT INDEXED WHERE id > ?"
        last, step, gaps = 0, 1, 0
        while gaps < _MOST_GAPS:
            try:
                for *row, number in self._db.execute(f"{query} ORDER BY id", (last,)):
                    last, step = number, 1
                    yield from _sound([row])
            except _DAMAGE:
                last, step, gaps = last + step, 2 * step, gaps + 1
            else:
                return

    def _open(self) -> None:
        try:
            # SQLite does not open a file that is shorter than its header says.
            self._db.execute("PRAGMA writable_schema=ON")
            tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master")}
            if not {"topics", "messages"} <= tables:
                raise BagError(
                    f"{self._name} is a database without the tables of rosbag2; give a bag"
                )
            topics = self._topics("message_definitions" in tables)
        except _DAMAGE as err:
            raise BagError(
                f"{self._name} is damaged ({err}) where its topics are listed; copy it again from "
                "the machine that recorded it"
            ) from err
        counts, self.start_ns, self.end_ns = self._count()
        self.channels = {
            number: Channel(number, *row, count=counts.get(number, 0)) for number, row in topics
        }

    def _topics(
        self, defined: bool
    ) -> list[tuple[int, tuple[str, str, str, tuple[str, bytes], str]]]:
        columns = {row[1] for row in self._db.execute("PRAGMA table_info(topics)")}
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        texts = {
            kind: (str(encoding), str(text).encode())
            for kind, encoding, text in (
                self._db.execute(
                    "SELECT topic_type, encoding, encoded_message_definition "
                    "FROM message_definitions"
                )
                if defined
                else ()
            )
        }
        rows = self._db.execute(f"SELECT id, name, type, serialization_format, {qos} FROM topics")  # noqa: S608 - one of two
        return [
            (
                int(n),
                (str(topic), ros_type(str(kind)), str(form), texts.get(kind, ("", b"")), str(q)),
            )
            for n, topic, kind, form, q in rows
        ]

    def _count(self) -> tuple[dict[int, int], int, int]:
        """Return messages by topic, first and last time; count row by row if damaged."""
        self._torn = False
        counts: dict[int, int] = {}
        start_ns, end_ns = END_OF_TIME_NS, 0
        try:
            for topic, count, first, last in self._db.execute(
                "SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp) FROM messages "
                "GROUP BY topic_id"
            ):
                if not (isinstance(first, int) and isinstance(last, int)):
                    raise apsw.CorruptError(f"a recording time is {first!r}")
                counts[topic] = count
                start_ns, end_ns = min(start_ns, first), max(end_ns, last)
        except _DAMAGE as err:
            self._torn, counts, start_ns, end_ns = True, {}, END_OF_TIME_NS, 0
            for topic, time_ns, _ in self._torn_rows():
                counts[topic] = counts.get(topic, 0) + 1
                start_ns, end_ns = min(start_ns, time_ns), max(end_ns, time_ns)
            total = sum(counts.values())
            if not total:
                raise BagError(
                    f"{self._name} is cut off or damaged ({err}) before its first message; copy it "
                    "again from the machine that recorded it"
                ) from err
            self.damage.append(
                f"{self._name} is cut off or damaged ({err}): {total} messages in "
                f"{(end_ns - start_ns) / 1e9:.1f} s were found, the others are lost; "
                "`segmif bag recover` writes them as a complete bag"
            )
        return counts, start_ns, end_ns


def _sound(rows: Iterable[Any]) -> Iterator[tuple[int, int, bytes]]:
    """Leave out rows with values of the wrong type."""
    for topic, time_ns, data in rows:
        if isinstance(topic, int) and isinstance(time_ns, int) and isinstance(data, bytes):
            yield topic, time_ns, data
