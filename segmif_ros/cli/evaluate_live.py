# SPDX-License-Identifier: Apache-2.0
"""`segmif evaluate --live`: the bag is played to a real node over DDS, at the bag's own rate.

The node's outputs are counted like an offline drive; latency and loss are added.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

from segmif_ros.bundle import Bundle
from segmif_ros.cli.command_line import say
from segmif_ros.cli.demo_session import DemoSession, DemoSessionError
from segmif_ros.cli.demo_sources import BagSource
from segmif_ros.cli.managed_process import private_domain
from segmif_ros.evaluation.kept_pictures import PairImages
from segmif_ros.evaluation.run import DriveError
from segmif_ros.evaluation.scores import DriveScores, EvaluatedPair
from segmif_ros.evaluation.settings import DriveSettings, node_parameters_of
from segmif_ros.evaluation.state import BagResult, Status, source_facts, stored_pictures
from segmif_ros.recordings.bags import BagError
from segmif_ros.recordings.closable_queue import ClosableQueue
from segmif_ros.recordings.recording import FrameSet
from segmif_ros.registration import Registration, load_calibration
from segmif_ros.report.run_summary import Latency, RunReport
from segmif_ros.report.summary import summarize as summarize_drive
from segmif_ros.report.verdict import Requirement
from segmif_ros.thermal import ThermalNormaliser

LOG = "log"
"""Folder with the logs of the processes."""

_WAITING_SETS = 64
_LONGEST_S = 1e6


class LiveScores:
    """Counts the sets of images that a recorder receives, on its own thread.

    Attributes:
        scores: what was counted.
        uncounted: sets that came while `_WAITING_SETS` others waited.
    """

    def __init__(self, settings: DriveSettings, bundle: Bundle) -> None:
        """Start the thread."""
        self.scores = DriveScores(settings, bundle.manifest.classes)
        self.uncounted = 0
        self._normaliser = ThermalNormaliser(settings.thermal)
        calibration = load_calibration(settings.calibration) if settings.calibration else None
        self._registration = Registration(calibration)
        self._first_ns: int | None = None
        self._sets: ClosableQueue[FrameSet] = ClosableQueue(_WAITING_SETS)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._count, name="segmif-count", daemon=True)
        self._thread.start()

    def take(self, whole: FrameSet) -> None:
        """Pass a set on, or leave it out where the counting is far behind.

        Waiting here would keep the recorder from hearing what comes meanwhile: it would be lost, or
        look late.
        """
        if not self._sets.offer(whole):
            self.uncounted += 1

    def close(self) -> None:
        """Count what waits, and end.

        Raises:
            DriveError: counting failed.
        """
        self._sets.put(None)
        self._thread.join()
        if self._error is not None:
            raise DriveError(f"counting failed: {self._error!r}") from self._error

    def _count(self) -> None:
        try:
            for whole in self._sets:
                self.scores.add(self._evaluated(whole))
        except BaseException as err:
            self._error = err
            self._sets.close()

    def _evaluated(self, whole: FrameSet) -> EvaluatedPair:
        """Render the thermal image as the node did: it publishes what it made of it, not this."""
        if self._first_ns is None:
            self._first_ns = whole.stamp_ns
        height, width = whole.rgb.shape[:2]
        grey = self._normaliser.normalise(whole.thermal, whole.stamp_ns)
        thermal = self._registration.apply(grey, (height, width))
        images = PairImages(whole.rgb, thermal, whole.fused, whole.mask, whole.confidence)
        return EvaluatedPair(
            stamp_ns=whole.stamp_ns,
            t_s=(whole.stamp_ns - self._first_ns) / 1e9,
            difference_ns=None,
            images=images,
            open_shutter=self._normaliser.freeze.state.is_settled,
        )


def evaluate_live(
    args: argparse.Namespace,
    settings: DriveSettings,
    bag: Path,
    bundle: Bundle,
    wanted: Sequence[Requirement],
) -> tuple[dict[str, Any], BagResult]:
    """Play the bag to a node and return the report without its pictures, and the result.

    Raises:
        DriveError: the bag cannot be played, or a process of the session failed.
    """
    started = time.perf_counter()
    try:
        source = BagSource(
            bag,
            seconds=_LONGEST_S,
            rgb_topic=settings.rgb_topic,
            thermal_topic=settings.thermal_topic,
            calibration=Path(settings.calibration) if settings.calibration else None,
        )
        result, run = _play(args, settings, source, bundle)
    except (BagError, DemoSessionError) as err:
        raise DriveError(str(err)) from err
    live = {
        "sent": run.pairs_in,
        "lost": run.pairs_in - run.pairs_out,
        "dropped": dict(run.dropped),
        "rate_in_hz": run.rate_in_hz,
        "rate_out_hz": run.rate_out_hz,
        "latency_ms": {stage: asdict(each) for stage, each in run.latency_ms.items()},
        "age_ms": {name: asdict(each) for name, each in run.age_ms.items()},
    }
    report = summarize_drive(
        [result],
        bundle,
        (),
        settings,
        wanted,
        wall_s=time.perf_counter() - started,
        max_skipped=args.max_skipped,
        live=live,
    )
    report["timing"]["stages"] = {stage: _stage(each) for stage, each in run.latency_ms.items()}
    return report, result


def _play(
    args: argparse.Namespace, settings: DriveSettings, source: BagSource, bundle: Bundle
) -> tuple[BagResult, RunReport]:
    domain = private_domain()
    say(f"playing {source.title} to a node on ROS domain {domain}, logs in {args.out / LOG}")
    with DemoSession(
        source,
        args.out / LOG,
        domain=domain,
        parameters=node_parameters_of(settings),
        pairing=settings.pairing,
    ) as session:
        warmup_ms = session.start_node()
        plan = source.plan(math.inf)
        scores = LiveScores(settings, bundle)
        session.recorder.on_set = scores.take
        session.play(plan)
        session.stop_node()
    scores.close()
    run = session.summary(plan)
    return _result(source, scores, run, warmup_ms), run


def _result(source: BagSource, live: LiveScores, run: RunReport, warmup_ms: float) -> BagResult:
    scores, summary = live.scores, source.summary
    notes = [*run.notes, *summary.notes]
    if live.uncounted:
        notes.append(
            f"{live.uncounted} results came while {_WAITING_SETS} others waited to be counted; "
            "they are in no measure but the rates: give this machine less to do"
        )
    alone = run.pairs_out - scores.evaluated - live.uncounted
    if alone > 0:
        notes.append(
            f"{alone} results came without their camera images and are in no measure but the rates"
        )
    status: Status = "partial" if summary.damage else "ok"
    inference = run.latency_ms.get("inference")
    return BagResult(
        path=str(source.path),
        status=status if scores.evaluated else "skipped",
        reason="; ".join(summary.damage)
        if scores.evaluated
        else "no result came out of the node; see log/",
        source=source_facts(summary, {"rgb": source.rgb_topic, "thermal": source.thermal_topic}),
        pairs={
            "received": dict(run.received),
            "expected": run.pairs_in,
            "paired": run.paired,
            "evaluated": run.pairs_out,
            "dropped": dict(run.dropped),
        },
        scores=scores.state(),
        series={"stride": 1, "rows": []},
        timing={
            "wall_s": run.pairs_out / run.rate_out_hz if run.rate_out_hz else 0.0,
            "engine_s": (inference.p50 if inference and inference.p50 else warmup_ms) / 1e3,
        },
        engine=dict(run.model),
        pictures=stored_pictures(scores.gallery),
        notes=tuple(notes),
    )


def _stage(latency: Latency) -> dict[str, float | int | None]:
    return {**asdict(latency), "max": None}
