# SPDX-License-Identifier: Apache-2.0
"""Losses of RGB frames: every frame that was sent is received, or counted under one reason."""

from __future__ import annotations

from collections.abc import Mapping

LOST_BEFORE = "lost before the node"
ASLEEP = "not listened to: no subscriber, and lazy is set"
REFUSED = "refused by the node"
HELD = "still waiting for a partner"
REPLACED = "gave way to a newer pair"
SKIPPED = "no subscriber"
FAILED = "failed"
WITHDRAWN = "withdrawn"
WITHHELD = "withheld: a camera was not well"
IN_WORK = "still in work"
LOST_AFTER = "lost after the node"


def account(
    sent: int, counters: Mapping[str, int], heard: int | None, *, asleep: bool = False
) -> dict[str, int]:
    """Return frames by reason of loss; the sum and the frames received make `sent`.

    A frame that the node used without its partner counts twice: as not paired, and as received. The
    sum is then larger by `counters["singles"]`.

    Args:
        sent: RGB frames sent.
        counters: of the node between two moments without traffic.
        heard: complete results at the consumer, None without a listener.
        asleep: the node does not subscribe to the cameras.

    Returns:
        Reason -> frames, zeros left out. A negative number means that the counters contradict
        each other; see `contradictions`.
    """
    received, pairs = counters["received.rgb"], counters["pairs"]
    prefix = "dropped.rgb."
    dropped = {
        f"not paired: {key.removeprefix(prefix)}": number
        for key, number in counters.items()
        if key.startswith(prefix)
    }
    refused = counters["refused.rgb"]
    ended = {
        REPLACED: counters["replaced"],
        SKIPPED: counters["skipped"],
        FAILED: counters["failures"],
        WITHDRAWN: counters["withdrawn"],
        WITHHELD: counters.get("withheld", 0),
    }
    published = counters["published"]
    found = {
        ASLEEP if asleep else LOST_BEFORE: sent - received,
        REFUSED: refused,
        **dropped,
        HELD: received - refused - sum(dropped.values()) - pairs,
        **ended,
        IN_WORK: pairs + counters.get("singles", 0) - sum(ended.values()) - published,
        LOST_AFTER: 0 if heard is None else published - heard,
    }
    return {reason: number for reason, number in found.items() if number}


def contradictions(loss: Mapping[str, int]) -> list[str]:
    """Name what cannot be: more frames came out of a stage than went in."""
    return [f"{-number} more than possible: {why}" for why, number in loss.items() if number < 0]
