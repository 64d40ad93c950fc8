# SPDX-License-Identifier: Apache-2.0
"""The status of one camera: the most specific cause first, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from segmif_ros.error_codes import brief
from segmif_ros.frames import PictureState
from segmif_ros.pairing import Stream
from segmif_ros.ros.diagnostics import levels
from segmif_ros.ros.diagnostics.diagnostics_input import DiagnosticsInput, InputFacts
from segmif_ros.ros.diagnostics.levels import DiagnosticEntry, Level
from segmif_ros.ros.node.statistics import NANOSECONDS, StreamStatistics
from segmif_ros.thermal import FreezeWatch

_TURNS = 3
"""So many changes of the frame_id among the newest images are two cameras, and no driver that was
restarted."""
USUAL_PERIODS = 3.0
"""A camera may be silent for so many of its usual periods."""


def camera_section(stream: Stream) -> Callable[[DiagnosticsInput], DiagnosticEntry]:
    """Return the section of one camera."""

    def section(facts: DiagnosticsInput) -> DiagnosticEntry:
        counts, own = facts.statistics.streams[stream], facts.inputs[stream]
        entry = DiagnosticEntry(stream.value)
        hz = counts.rate.hz(facts.now_ns)
        silent_s = facts.silent_s(counts.last_arrival_ns)
        if silent_s is None:
            entry.state = entry.text = "inactive"
        elif silent_s > silent_after_s(own.usual_hz):
            state, text = _silence(silent_s, own, counts.received)
            entry.raise_to(levels.SILENT.level, state, text)
        elif counts.received == 0:
            entry.state, entry.text = "waiting", "no image yet"
        else:
            entry.text = f"{counts.format}, {hz:.1f} Hz"
            _judge_images(entry, facts, stream)
            _judge_rate(entry, hz, own)
            several = _several(counts, own)
            entry.check(levels.SEVERAL, len(several), _SEVERAL.format(own, ", ".join(several)))
            if facts.clocks is not None and _is_further_off(facts, stream):
                clocks = facts.clocks
                entry.check(levels.CLOCK_DIFFERS, clocks.seconds(facts.offset_ns), clocks.text())
            entry.check(levels.CAMERA_INFO, bool(own.camera_info_problem), own.camera_info_problem)
        entry.values |= _values(counts, own, hz)
        entry.percentiles("transport", counts.transport_ms)
        return entry

    return section


def silent_after_s(usual_hz: float | None) -> float:
    """Return the time without an image after which a camera counts as silent, seconds.

    Args:
        usual_hz: its expected rate, None while unknown; slow cameras are given more time.
    """
    if not usual_hz:
        return levels.SILENT.limit
    return max(levels.SILENT.limit, USUAL_PERIODS / usual_hz)


def _silence(seconds: float, own: InputFacts, received: int) -> tuple[str, str]:
    """Return state and text of a camera of which nothing comes."""
    heard = own.publishers - len(own.mismatches)
    if heard == 0 and own.mismatches:
        first = own.mismatches[0]
        state = "wrong_type" if first.policy == "type" else "qos_incompatible"
        return state, f"nothing can come on {own.topic}: {first}"
    if own.other_transport and received == 0:
        return (
            "never_seen",
            f"no publisher on {own.topic}, but {own.other_transport} is published: set the "
            "parameter input_transport to what the camera sends",
        )
    if own.publishers == 0 and received == 0:
        return (
            "never_seen",
            f"no publisher on {own.topic}: remap the input to the camera's topic, or start it",
        )
    if received == 0 and own.other_users:
        users = ", ".join(own.other_users)
        return (
            "other_user",
            f"{own.topic} has {own.publishers} publisher(s), no image in {seconds:.1f} s, and "
            f"another user ({users}) has shared memory here, which this user's processes cannot "
            "use: run all as one user, or all with config/fastdds_udp.xml (docs/deploy)",
        )
    if received == 0:
        return (
            "never_seen",
            f"{own.topic} has {own.publishers} publisher(s), no image in {seconds:.1f} s: "
            "does the camera stream, and has its process the Fast DDS profile "
            "(`segmif doctor` checks)?",
        )
    gone = ": its publisher is gone" if own.publishers == 0 else ""
    return "stale", f"no image for {seconds:.1f} s{gone}"


def _judge_images(entry: DiagnosticEntry, facts: DiagnosticsInput, stream: Stream) -> None:
    """Assess the images of the last seconds, worst and most specific first."""
    counts, before = facts.statistics.streams[stream], facts.before
    received = counts.received - before.received[stream]
    refused = counts.refused_total() - before.refused[stream]
    zero = counts.stamps.zero - before.zero_stamps[stream]
    if received:
        share = refused / received
        entry.check(
            levels.REFUSED_ALL, share, f"every image is refused: {counts.last_refusal}"
        ) or entry.check(
            levels.REFUSED, refused, f"{refused} images refused: {counts.last_refusal}"
        )
    content = facts.inputs[stream].content
    if content is not None:
        _judge_content(entry, content, stream)
    if received:
        unset = "the driver does not fill header.stamp"
        entry.check(
            levels.ZERO_STAMPS_ALL, zero / received, f"every stamp is zero: {unset}"
        ) or entry.check(levels.ZERO_STAMPS, zero, f"{zero} zero stamps: {unset}")
    jumps = counts.stamps.jumps - before.stamp_jumps[stream]
    jumped_s = counts.stamps.last_jump_ns / NANOSECONDS
    entry.check(
        levels.STAMP_JUMPS, jumps,
        f"stamps jumped by {jumped_s:+.1f} s: bag looped, or a clock was set",
    )  # fmt: skip
    future = counts.stamps.future - before.future_stamps[stream]
    entry.check(
        levels.FUTURE_STAMPS, future,
        f"{future} stamps lie in the future: the camera's clock is ahead of this machine's; "
        "run chrony or PTP on both",
    )  # fmt: skip
    recent = counts.transport_ms.percentiles(facts.window.transports[stream])
    if recent is not None:
        entry.check(
            levels.LATE, recent.p50,
            f"images are {recent.p50:.0f} ms old when they arrive: a queue in the driver or "
            "the network, or clocks that differ",
        )  # fmt: skip


_SEVERAL = "several drivers publish {0.topic}, their images take turns: {1}; remap all but one"


def _several(counts: StreamStatistics, own: InputFacts) -> list[str]:
    """Name the drivers on one topic; a restarted one has the same name."""
    names = sorted(set(own.publisher_names))
    frames = tuple(counts.frame_ids)
    turns = sum(a != b for a, b in pairwise(frames))
    if len(names) < 2 and own.publishers > 1 and turns >= _TURNS:
        names = [
            f"{' '.join(names)} with frame_id '{brief(frame)}'" for frame in sorted(set(frames))
        ]
    return names


def _is_further_off(facts: DiagnosticsInput, stream: Stream) -> bool:
    """Return whether this camera's stamps differ more from the node's clock than the other's."""
    own, other = (facts.statistics.streams[s].stamps.age_ns for s in (stream, stream.other))
    return abs(own) >= abs(other)


def _judge_content(entry: DiagnosticEntry, content: FreezeWatch, stream: Stream) -> None:
    seconds = content.unchanged_ns / NANOSECONDS
    if content.state is PictureState.SHUTTER and entry.level is Level.OK:
        entry.state = "shutter"
        entry.text = f"shutter closed for {seconds:.1f} s (flat-field correction, expected)"
    if content.state is not PictureState.FROZEN:
        return
    threshold = levels.FROZEN[stream]
    what = "one value everywhere" if content.flat else "one and the same picture"
    remedy = "is the lens covered?" if content.flat else "the camera or its driver hangs"
    entry.raise_to(threshold.level, threshold.state, f"{what} for {seconds:.1f} s: {remedy}")


def _judge_rate(entry: DiagnosticEntry, hz: float, own: InputFacts) -> None:
    if own.usual_hz is None or hz <= 0.0:
        return
    share = hz / own.usual_hz
    usual = "expected are" if own.rate_is_given else "usual are"
    entry.check(levels.RATE_LOW, share, f"{hz:.1f} Hz, {usual} {own.usual_hz:.1f}: images lost?")
    several = f": {own.publishers} publishers on {own.topic}" if own.publishers > 1 else ""
    entry.check(levels.RATE_HIGH, share, f"{hz:.1f} Hz, {usual} {own.usual_hz:.1f}{several}")


def _values(counts: StreamStatistics, own: InputFacts, hz: float) -> dict[str, str]:
    return {
        "topic": own.topic,
        "publishers": str(own.publishers),
        "publisher_names": ", ".join(own.publisher_names),
        "unheard": "; ".join(str(mismatch) for mismatch in own.mismatches),
        "format": counts.format,
        "received": str(counts.received),
        "rate_hz": f"{hz:.2f}",
        "usual_hz": "" if own.usual_hz is None else f"{own.usual_hz:.2f}",
        "refused": str(counts.refused_total()),
        **{f"refused.{reason.value}": str(n) for reason, n in counts.refused.items()},
        "last_refusal": counts.last_refusal,
        "camera_info_problem": own.camera_info_problem,
        "zero_stamps": str(counts.stamps.zero),
        "future_stamps": str(counts.stamps.future),
        "stamp_jumps": str(counts.stamps.jumps),
        "last_jump_s": f"{counts.stamps.last_jump_ns / NANOSECONDS:.3f}",
        "implausible_stamps": str(counts.implausible_stamps),
        "rendering_hint": counts.rendering_hint,
        **({} if own.content is None else own.content.facts()),
    }
