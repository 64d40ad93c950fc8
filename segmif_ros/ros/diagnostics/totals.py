# SPDX-License-Identifier: Apache-2.0
"""Counters as they stood at an earlier report: what happened since is the difference."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from segmif_ros.pairing import MILLISECOND, DropReason, Stream
from segmif_ros.ros.node.statistics import Statistics

SECOND_NS = 900 * MILLISECOND
"""A little less than the second between two reports, so that a late timer does not double it."""
FIVE_SECONDS_NS = 4_900 * MILLISECOND


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters at the time of a report.

    Attributes:
        samples: how many samples of each stage there were.
        transports: how many transport times of each camera.
        dropped: frames in no pair, by camera and reason.
    """

    received: Mapping[Stream, int]
    refused: Mapping[Stream, int]
    zero_stamps: Mapping[Stream, int]
    future_stamps: Mapping[Stream, int]
    stamp_jumps: Mapping[Stream, int]
    transports: Mapping[Stream, int]
    dropped: Mapping[tuple[Stream, DropReason], int]
    pairs: int
    singles: int
    clock_jumps: int
    replaced: int
    published: int
    failures: int
    implausible_totals: int
    samples: Mapping[str, int]

    @classmethod
    def of(cls, statistics: Statistics) -> Totals:
        """Read the counters."""
        streams = statistics.streams
        return cls(
            received={s: streams[s].received for s in Stream},
            refused={s: streams[s].refused_total() for s in Stream},
            zero_stamps={s: streams[s].stamps.zero for s in Stream},
            future_stamps={s: streams[s].stamps.future for s in Stream},
            stamp_jumps={s: streams[s].stamps.jumps for s in Stream},
            transports={s: streams[s].transport_ms.count for s in Stream},
            dropped={(s, reason): n for s in Stream for reason, n in streams[s].dropped.items()},
            pairs=statistics.pairs,
            singles=statistics.singles,
            clock_jumps=statistics.clock_jumps,
            replaced=statistics.replaced,
            published=statistics.published,
            failures=statistics.failures,
            implausible_totals=statistics.implausible_totals,
            samples={stage: kept.count for stage, kept in statistics.stages_ms.items()},
        )


class TotalsHistory:
    """Finds the counters to compare with: those of at least `span_ns` ago.

    A report judges what happened since then. Shorter spans hold too few frames to say that pairs
    are missing, so reporting faster than once a second must not shorten them.
    """

    def __init__(self, first: Totals, now_ns: int, span_ns: int = SECOND_NS) -> None:
        self._past = deque([(now_ns, first)])
        self._span_ns = span_ns

    def before(self, now_ns: int, totals: Totals) -> Totals:
        """Remember `totals` and return the newest ones that are old enough."""
        while len(self._past) > 1 and now_ns - self._past[1][0] >= self._span_ns:
            self._past.popleft()
        found = self._past[0][1]
        self._past.append((now_ns, totals))
        return found
