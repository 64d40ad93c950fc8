# SPDX-License-Identifier: Apache-2.0
"""Reads an mcap file by its index or, without one, record by record up to the damage.

A recorder that was killed leaves a file without index and end. All messages up to the last complete
chunk are read, and the missing part is reported.
"""

from __future__ import annotations

import heapq
import io
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lz4.frame  # type: ignore[import-untyped]
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel as ChannelRecord
from mcap.records import Chunk, Schema
from mcap.summary import Summary

from segmif_ros.error_codes import brief
from segmif_ros.files import open_file
from segmif_ros.recordings.storage import (
    END_OF_TIME_NS,
    LARGEST_BLOCK,
    BagError,
    Channel,
    StorageKind,
    ros_type,
)

MAGIC = b"\x89MCAP0\r\n"
_FOOTER = struct.Struct("<BQQQI")
_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_LOOSE = 4 << 20
"""Messages outside of chunks are grouped up to this size, bytes."""
_MOST_NAMED = 3

_Message = tuple[int, int, int, int, bytes]
"""Recording time, number of the block, position in it, channel, data."""


class _DamageError(ValueError):
    """A block of the file is damaged."""


@dataclass(slots=True)
class _Block:
    """A range of the file with messages: a chunk, or records between chunks."""

    offset: int
    length: int
    start_ns: int = END_OF_TIME_NS
    end_ns: int = 0
    counts: Counter[int] = field(default_factory=Counter)
    is_chunk: bool = True

    def note(self, channel: int, time_ns: int) -> None:
        self.start_ns, self.end_ns = min(self.start_ns, time_ns), max(self.end_ns, time_ns)
        self.counts[channel] += 1


class McapFile:
    """A `Storage`. Messages of one chunk at a time are in memory, more where chunks overlap."""

    kind: StorageKind = "mcap"

    def __init__(self, path: Path, name: str = "") -> None:
        """Open the file and find its channels and chunks.

        Args:
            path: the file.
            name: for messages, if `path` is a temporary copy.

        Raises:
            BagError: empty, no mcap, or nothing in it can be read.
            OSError: it cannot be opened.
        """
        self._name = name or path.name
        self._file = open_file(path)
        self._size = path.stat().st_size
        self._schemas: dict[int, Schema] = {}
        self._blocks: list[_Block] = []
        self.channels: dict[int, Channel] = {}
        self.checksums = True
        self.damage: list[str] = []
        self._bad: set[int] = set()
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise
        self.start_ns = min((b.start_ns for b in self._blocks), default=END_OF_TIME_NS)
        self.end_ns = max((b.end_ns for b in self._blocks), default=0)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def messages(
        self, channels: Collection[int], start_ns: int, stop_ns: int
    ) -> Iterator[tuple[int, int, bytes]]:
        """See `Storage.messages`."""
        wanted = frozenset(channels)
        blocks = [
            self._messages_of(number, block, wanted, start_ns, stop_ns)
            for number, block in enumerate(self._blocks)
            if block.end_ns >= start_ns
            and block.start_ns < stop_ns
            and (not block.counts or not wanted.isdisjoint(block.counts))
        ]
        for time_ns, _, position, channel, data in heapq.merge(*blocks):
            if position >= 0:
                yield channel, time_ns, data

    def _messages_of(
        self, number: int, block: _Block, wanted: frozenset[int], start_ns: int, stop_ns: int
    ) -> Iterator[_Message]:
        # A placeholder in the merge: the chunk is read when its start time is reached.
        yield block.start_ns, number, -1, 0, b""
        found: list[_Message] = []
        try:
            data = self._load(block)
            for position, opcode, record in _records(data):
                if opcode != Opcode.MESSAGE:
                    continue
                channel, _, time_ns, _ = _MESSAGE.unpack_from(record)
                if channel in wanted and start_ns <= time_ns < stop_ns:
                    found.append((time_ns, number, position, channel, record[22:].tobytes()))
        except _DamageError as err:
            self._note_bad(block, str(err))
        yield from sorted(found, key=lambda message: message[:3])

    def _open(self) -> None:
        magic = self._file.read(len(MAGIC))
        if not magic:
            raise BagError(f"{self._name} is empty (0 bytes); copy it again or leave it out")
        if not MAGIC.startswith(magic):
            raise BagError(
                f"{self._name} is no mcap file: it begins with {magic.hex(' ')}, expected "
                f"{MAGIC.hex(' ')}"
            )
        try:
            summary, broken = self._summary(), ""
        except Exception as err:
            # The library passes on errors of struct, zlib, unicode and the end of the file.
            summary, broken = None, str(err) or type(err).__name__
        if summary is None:
            self._scan(broken)
        else:
            self._take(summary)
        self.checksums = all(map(self._has_checksum, self._blocks))

    def _summary(self) -> Summary | None:
        """Return the index at the end of the file; None where the writer made none."""
        self._file.seek(max(0, self._size - _FOOTER.size - len(MAGIC)))
        tail = self._file.read()
        if tail[-len(MAGIC) :] != MAGIC or tail[0] != Opcode.FOOTER:
            raise _DamageError("the file was not closed")
        _, _, start, _, crc = _FOOTER.unpack_from(tail)
        if not start:
            return None
        self._file.seek(start)
        data = self._file.read(self._size - start)
        if crc and zlib.crc32(data[: -len(MAGIC) - 4]) != crc:
            raise _DamageError("its index does not match its checksum")
        self._file.seek(0)
        summary = SeekingReader(self._file).get_summary()
        if summary is None or summary.statistics is None:
            return None
        return summary if summary.chunk_indexes or not summary.statistics.message_count else None

    def _take(self, summary: Summary) -> None:
        assert summary.statistics is not None
        counts = summary.statistics.channel_message_counts
        self._schemas = dict(summary.schemas)
        for record in summary.channels.values():
            self._add_channel(record)
        self._count(Counter(counts))
        self._blocks = [
            _Block(
                index.chunk_start_offset,
                index.chunk_length,
                index.message_start_time,
                index.message_end_time,
                Counter(dict.fromkeys(index.message_index_offsets, 1)),
            )
            for index in sorted(summary.chunk_indexes, key=lambda index: index.chunk_start_offset)
        ]

    def _scan(self, broken: str) -> None:
        """Read the file record by record up to the last complete one."""
        position, ended = len(MAGIC), False
        while not ended and position + _RECORD.size <= self._size:
            self._file.seek(position)
            opcode, length = _RECORD.unpack(self._file.read(_RECORD.size))
            end = position + _RECORD.size + length
            if opcode == Opcode.CHUNK and end > self._size:
                end, length = self._size, self._size - position - _RECORD.size
                broken = broken or "its last chunk is cut off"
            if end > self._size or opcode == 0:
                break
            try:
                ended = self._scan_record(position, opcode, length)
            except Exception as err:
                broken = broken or str(err)
                break
            position = end
        self._count(sum((block.counts for block in self._blocks), Counter()))
        if not broken and ended:
            return
        count = sum(channel.count for channel in self.channels.values())
        if not count and not ended:
            raise BagError(
                f"{self._name} ends after {self._size} bytes, before its first message; copy it "
                "again from the machine that recorded it"
            )
        start = min((block.start_ns for block in self._blocks), default=0)
        seconds = (max((block.end_ns for block in self._blocks), default=0) - start) / 1e9
        found = f"{count} messages in {seconds:.1f} s were found"
        if ended:
            what = f"has a damaged index ({broken}): {found} by reading all of it"
        else:
            what = (
                f"was not completed (its recorder was killed, or the file is cut off or damaged): "
                f"{found} up to byte {position} of {self._size}, everything after it is lost; "
                "`segmif bag recover` writes them as a complete bag"
            )
        self.damage.append(f"{self._name} {what}")

    def _scan_record(self, position: int, opcode: int, length: int) -> bool:
        """Process one record of the data section; True at its end."""
        if opcode == Opcode.CHUNK:
            block = _Block(position, _RECORD.size + length)
            try:
                data = self._load(block)
            except _DamageError as err:
                self._note_bad(block, str(err))
                return False
            for _, inner, record in _records(data):
                self._learn(inner, record, block)
            if block.counts:
                self._blocks.append(block)
        elif opcode == Opcode.MESSAGE:
            last = self._blocks[-1] if self._blocks else None
            if last is None or last.is_chunk or last.length + length > _LOOSE:
                last = _Block(position, 0, is_chunk=False)
                self._blocks.append(last)
            last.length = position + _RECORD.size + length - last.offset
            self._learn(opcode, memoryview(self._file.read(_MESSAGE.size)), last)
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            self._learn(opcode, memoryview(self._file.read(length)), None)
        return opcode == Opcode.DATA_END

    def _learn(self, opcode: int, record: memoryview, block: _Block | None) -> None:
        if opcode == Opcode.MESSAGE and block is not None:
            channel, _, time_ns, _ = _MESSAGE.unpack_from(record)
            block.note(channel, time_ns)
        elif opcode == Opcode.SCHEMA:
            schema = Schema.read(_stream(record))
            self._schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            self._add_channel(ChannelRecord.read(_stream(record)))

    def _add_channel(self, record: ChannelRecord) -> None:
        schema = self._schemas.get(record.schema_id)
        self.channels[record.id] = Channel(
            record.id,
            record.topic,
            ros_type(schema.name) if schema else "",
            record.message_encoding,
            (schema.encoding, schema.data) if schema else ("", b""),
            record.metadata.get("offered_qos_profiles", ""),
        )

    def _count(self, counts: Counter[int]) -> None:
        for number, channel in self.channels.items():
            self.channels[number] = replace(channel, count=counts[number])

    def _load(self, block: _Block) -> memoryview:
        """Return the records of a block."""
        if block.offset + block.length > self._size:
            raise _DamageError(f"the index names byte {block.offset}, beyond the end of the file")
        self._file.seek(block.offset)
        data = memoryview(self._file.read(block.length))
        if not block.is_chunk:
            return data
        try:
            opcode, length = _RECORD.unpack_from(data)
            if opcode == Opcode.CHUNK and length > self._size - block.offset - _RECORD.size:
                return memoryview(_salvaged(data[_RECORD.size :]))
            chunk = Chunk.read(_stream(data[_RECORD.size :]))
            content = _decompressed(chunk)
        except Exception as err:
            # Invalid bytes cause arbitrary errors of struct, the decompressors and unicode.
            raise _DamageError(f"chunk at byte {block.offset} is damaged: {err}") from err
        if opcode != Opcode.CHUNK or length != block.length - _RECORD.size:
            raise _DamageError(f"there is no chunk at byte {block.offset}")
        if chunk.uncompressed_crc and zlib.crc32(content) != chunk.uncompressed_crc:
            raise _DamageError(
                f"chunk at byte {block.offset} is damaged: it does not match its checksum"
            )
        return memoryview(content)

    def _has_checksum(self, block: _Block) -> bool:
        """Return whether a checksum covers the whole block; that of a truncated chunk does not."""
        self._file.seek(min(block.offset, self._size))
        head = self._file.read(_RECORD.size + 28).ljust(_RECORD.size + 28, b"\0")
        whole = block.offset + _RECORD.size + _RECORD.unpack_from(head)[1] <= self._size
        return block.is_chunk and whole and any(head[-4:])

    def _note_bad(self, block: _Block, why: str) -> None:
        if block.offset in self._bad:
            return
        self._bad.add(block.offset)
        if len(self._bad) > _MOST_NAMED:
            self.damage[-1] = f"{self._name}: {len(self._bad)} chunks are damaged and left out"
            return
        span = f" ({(block.end_ns - block.start_ns) / 1e9:.1f} s)" if block.end_ns else ""
        self.damage.append(f"{self._name}: {why}; its messages{span} are left out")


def _stream(record: memoryview) -> ReadDataStream:
    return ReadDataStream(io.BytesIO(record))


def _records(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield position, opcode and content of each record."""
    position, size = 0, len(data)
    while position < size:
        if position + _RECORD.size > size:
            raise _DamageError("a record is cut off")
        opcode, length = _RECORD.unpack_from(data, position)
        begin = position + _RECORD.size
        if length > size - begin or (opcode == Opcode.MESSAGE and length < _MESSAGE.size):
            raise _DamageError(f"a record of {length} bytes where {size - begin} are left")
        yield position, opcode, data[begin : begin + length]
        position = begin + length


def _salvaged(chunk: memoryview) -> bytes:
    """Return the whole records of a chunk that the file does not hold to its end."""
    (length,) = struct.unpack_from("<I", chunk, 28)
    compression, content = bytes(chunk[32 : 32 + length]), bytes(chunk[40 + length :])
    if compression == b"zstd":
        content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
    elif compression == b"lz4":
        content = lz4.frame.LZ4FrameDecompressor().decompress(content)
    end = 0
    while end + _RECORD.size <= len(content):
        end_of_record = end + _RECORD.size + _RECORD.unpack_from(content, end)[1]
        if end_of_record > len(content):
            break
        end = end_of_record
    return content[:end]


def _decompressed(chunk: Chunk) -> bytes:
    size = chunk.uncompressed_size
    if size > LARGEST_BLOCK:
        raise _DamageError(f"it announces {size} bytes")
    content: Any = chunk.data
    if chunk.compression == "zstd":
        if zstandard.frame_content_size(content) > size:
            raise _DamageError(f"its frame is larger than the {size} bytes it announces")
        content = zstandard.ZstdDecompressor().decompress(content, max_output_size=size)
    elif chunk.compression == "lz4":
        content = lz4.frame.decompress(content)
    elif chunk.compression:
        raise _DamageError(f"compression '{brief(chunk.compression)}', expected zstd, lz4 or none")
    if len(content) != size:
        raise _DamageError(f"{len(content)} bytes instead of {size}")
    return bytes(content)
