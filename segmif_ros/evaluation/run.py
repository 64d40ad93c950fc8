# SPDX-License-Identifier: Apache-2.0
"""Evaluates one bag on three threads, so that the engine is the bottleneck.

The first reads pairs ahead, the calling thread runs the network, the third counts and writes the
results. At most one pair and two results wait between them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import NamedTuple

from segmif_ros.engines.base import EngineError, one_line
from segmif_ros.evaluation.context import EvaluationContext
from segmif_ros.evaluation.dataset_scores import with_one_camera
from segmif_ros.evaluation.ground_truth import LabelError, box_classes, open_truth
from segmif_ros.evaluation.kept_pictures import PairImages
from segmif_ros.evaluation.results_bag import DerivedMessages, DrivePoints, ResultBag
from segmif_ros.evaluation.scores import DownsampledTable, DriveScores, EvaluatedPair, Histogram
from segmif_ros.evaluation.state import (
    INTERRUPTED,
    BagResult,
    Status,
    source_facts,
    stamp_figures,
    stored_pictures,
)
from segmif_ros.frames import Image8, Pair
from segmif_ros.images.raw import objection
from segmif_ros.metrics.boxes import Box
from segmif_ros.objects.regions import thermal_values
from segmif_ros.pairing import DropReason
from segmif_ros.perceiver import Perceiver
from segmif_ros.recordings.bags import BagError
from segmif_ros.recordings.closable_queue import ClosableQueue
from segmif_ros.recordings.drive_source import DriveSource, RecordedPair
from segmif_ros.registration import RegistrationError
from segmif_ros.thermal import ThermalError

PAIR_ERRORS = (EngineError, RegistrationError, ThermalError)
"""Errors of a single pair: counted, and the next pair is tried, as in the node."""

_LOG = logging.getLogger(__name__)

FAILED = "failed"
"""Reason of pairs for which the network failed."""


class DriveError(RuntimeError):
    """An evaluation cannot continue; the message has the cause and the remedy."""


Progress = Callable[[int, int], None]
"""Called with the pairs done so far and the pairs expected."""


def evaluate_bag(
    path: Path,
    bench: EvaluationContext,
    *,
    out_bag: Path | None = None,
    progress: Progress | None = None,
) -> BagResult:
    """Evaluate one bag; Ctrl-C ends it early with what has been counted.

    Args:
        path: the bag.
        bench: the open model.
        out_bag: where to write the results as a bag, None for nowhere.
        progress: called for every pair.

    Returns:
        The result; "skipped" with a reason for a bag that cannot be evaluated.

    Raises:
        DriveError: an error that is not caused by the bag: a full disk, missing labels.
    """
    try:
        with _source(path, bench) as source:
            return _Run(source, bench, out_bag, progress).result()
    except BagError as err:
        return BagResult(str(path), "skipped", str(err))
    except LabelError as err:
        raise DriveError(str(err)) from err
    except OSError as err:
        where = f" {err.filename}" if err.filename else ""
        raise DriveError(
            f"{path.name}: {err.strerror or err}{where}; free space or choose another folder"
        ) from err
    except DriveError:
        raise
    except Exception as err:
        # An unexpected error in one bag must not end the evaluation of the others.
        _LOG.exception("%s: not foreseen; please report it", path.name)
        reason = f"not foreseen: {type(err).__name__}: {one_line(err)}; please report it"
        return BagResult(str(path), "skipped", reason)


class _CutShortError(Exception):
    """Ends the bag of results as incomplete."""


class _Ahead(NamedTuple):
    """A pair that waits for the engine, with its ground truth."""

    pair: RecordedPair
    truth: Image8 | None
    boxes: tuple[Box, ...] | None


class _Result(NamedTuple):
    """A result that waits to be counted."""

    evaluated: EvaluatedPair
    pair: RecordedPair


class _Run:
    """One bag from its first to its last pair."""

    def __init__(
        self,
        source: DriveSource,
        bench: EvaluationContext,
        out_bag: Path | None,
        progress: Progress | None,
    ) -> None:
        self._source = source
        self._bench = bench
        self._settings = bench.settings
        self._progress = progress
        self._out_bag = out_bag
        self._scores = DriveScores(bench.settings, bench.bundle.manifest.classes, bench.protocols)
        self._labels, self._boxes = open_truth(bench.settings, source.summary.path, bench.bundle)
        if self._boxes is not None:
            self._scores.box_labels = box_classes(bench.settings, bench.bundle).labels
        self._ahead: ClosableQueue[_Ahead] = ClosableQueue(1)
        self._found: ClosableQueue[_Result] = ClosableQueue(2)
        self._errors: list[BaseException] = []
        self._stages: dict[str, Histogram] = {}
        self._series = DownsampledTable()
        self._engine_s = 0.0
        self._failed: dict[str, int] = {}
        self._first_ns: int | None = None
        self._valid: Image8 | None = None
        self._interrupted = False
        self._point_notes: list[str] = []

    def result(self) -> BagResult:
        """Go through the bag."""
        started = perf_counter()
        reader = Thread(target=self._guarded, args=(self._read,), name="segmif-read", daemon=True)
        counter = Thread(
            target=self._guarded, args=(self._count,), name="segmif-count", daemon=True
        )
        reader.start()
        counter.start()
        try:
            self._infer_all()
        except KeyboardInterrupt:
            self._interrupted = True
        finally:
            self._ahead.close()
            reader.join()
            self._found.put(None)
            counter.join()
            if self._labels is not None:
                self._labels.close()
        if self._errors:
            raise self._errors[0]
        return self._told(perf_counter() - started)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run the work of a thread; `result` raises its exceptions."""
        try:
            work()
        except BaseException as err:
            self._errors.append(err)
            self._found.close()
            self._ahead.close()

    def _read(self) -> None:
        """Thread: read pairs and ground truth, one ahead of the engine."""
        limit = self._settings.limit
        for pair in self._source:
            truth, boxes = self._truth_of(pair)
            if not self._ahead.put(_Ahead(pair, truth, boxes)):
                return
            if pair.index + 1 == limit:
                break
        self._ahead.put(None)

    def _truth_of(self, pair: RecordedPair) -> tuple[Image8 | None, tuple[Box, ...] | None]:
        truth, boxes = None, None
        try:
            if self._labels is not None:
                truth = self._labels.of(pair)
            if self._boxes is not None:
                boxes = self._boxes.of(pair)
        except LabelError as err:
            self._scores.note_label_problem(str(err))
        return truth, boxes

    def _infer_all(self) -> None:
        """Run the network over the reader's pairs."""
        both, single = self._bench.perceivers()
        done = 0
        for item in self._ahead:
            started = perf_counter()
            try:
                result, times = self._infer(item, both, single)
            except PAIR_ERRORS as err:
                self._failed[str(err)] = self._failed.get(str(err), 0) + 1
                continue
            waited = perf_counter()
            for stage, milliseconds in times.items():
                self._stages.setdefault(stage, Histogram()).add(milliseconds)
            if not self._found.put(result):
                return
            self._engine_s += times["inference"] / 1e3
            times["pair"] = 1e3 * (waited - started)
            pair = result.evaluated
            self._series.add([pair.t_s, None, times["inference"], times["pair"], pair.stamp_ns])
            done += 1
            if self._progress is not None:
                expected = self._settings.limit or self._source.expected_pairs
                self._progress(done, min(expected, self._source.expected_pairs))

    def _infer(
        self, item: _Ahead, both: Perceiver, single: Perceiver
    ) -> tuple[_Result, dict[str, float]]:
        pair = item.pair
        if self._first_ns is None:
            self._first_ns = pair.stamp_ns
        given = Pair(pair.rgb, pair.thermal, pair.stamp_ns, pair.thermal_stamp_ns, pair.frame_id)
        seen = both.perceive(given)
        times = dict(seen.timings_ms)
        images = PairImages(
            pair.rgb, *(x.copy() for x in (seen.thermal, seen.fused, seen.mask, seen.confidence))
        )
        alone: dict[str, tuple[Image8, Image8]] = {}
        labelled = item.truth is not None or item.boxes is not None
        if self._settings.rows == "all" or (self._settings.scores_cameras_alone and labelled):
            stamps = (pair.stamp_ns, pair.thermal_stamp_ns)
            alone = with_one_camera(pair.rgb, images.thermal, single, stamps)
        heat = None
        if item.boxes is not None or self._out_bag is not None:
            settings = self._settings.thermal
            heat, _ = thermal_values(seen, given, self._bench.registration, settings)
        calibrated = self._bench.calibration is not None
        if calibrated and self._valid is None:
            size = (int(pair.thermal.shape[0]), int(pair.thermal.shape[1]))
            height, width = images.visible.shape[:2]
            self._valid = self._bench.registration.valid_area(size, (height, width))
        evaluated = EvaluatedPair(
            stamp_ns=pair.stamp_ns,
            t_s=(pair.stamp_ns - self._first_ns) / 1e9,
            difference_ns=pair.difference_ns,
            images=images,
            alone=alone,
            truth=item.truth,
            boxes=item.boxes,
            open_shutter=both.normaliser.freeze.state.is_settled,
            valid=self._valid,
            heat=heat,
        )
        return _Result(evaluated, pair), times

    def _count(self) -> None:
        """Thread: scores, and the bag of results."""
        if self._out_bag is None:
            for result in self._found:
                self._scores.add(result.evaluated)
            return
        points, results = self._points_of_bag(), self._result_bag()
        derived = DerivedMessages(self._bench.bundle.manifest.classes, points)
        try:
            with suppress(_CutShortError), results as bag:
                time_ns = 0
                for result in self._found:
                    evaluated, pair = result
                    self._scores.add(evaluated)
                    unit = self._settings.thermal.unit(pair.thermal.dtype)
                    found = derived.objects(evaluated)
                    bag.write(
                        evaluated.images,
                        pair.stamp_ns,
                        pair.frame_id,
                        pair.messages,
                        derived.of(evaluated, found, pair.frame_id, unit),
                        [each.mark for each in found],
                    )
                    time_ns = max(message.time_ns for message in pair.messages)
                if self._interrupted:
                    raise _CutShortError
                bag.write_derived(time_ns, derived.rest())
        except BagError as err:
            # The error is not of the input bag, which would only be skipped.
            raise DriveError(str(err)) from err
        finally:
            points.close()
            self._point_notes = points.notes()

    def _points_of_bag(self) -> DrivePoints:
        source, settings = self._source, self._settings
        return DrivePoints(
            source.summary.path,
            settings.points_topic,
            self._bench.mounting,
            round(settings.points_tolerance_ms * 1e6),
            source.topics["rgb"],
        )

    def _result_bag(self) -> ResultBag:
        assert self._out_bag is not None
        manifest, inputs = self._bench.bundle.manifest, self._settings.bag_inputs
        return ResultBag(self._out_bag, manifest, inputs=inputs, replace=True)

    def _told(self, wall_s: float) -> BagResult:
        source, scores = self._source, self._scores
        summary = source.summary
        status, reason = self._status()
        dropped = _dropped(source)
        if self._failed:
            dropped[FAILED] = sum(self._failed.values())
        limited = source.pairs == self._settings.limit
        result = BagResult(
            path=str(summary.path),
            status=status,
            reason=reason,
            source=source_facts(summary, source.topics),
            pairs={
                "received": dict(source.received),
                "expected": source.pairs if limited else min(source.received.values()),
                "paired": source.pairs,
                "evaluated": scores.evaluated,
                "dropped": dropped,
            },
            sync={"intervals": stamp_figures(source.timing()), "clock_jumps": source.clock_jumps},
            scores=scores.state(),
            stages={name: spread.state() for name, spread in self._stages.items()},
            series=self._series.state(),
            timing={"wall_s": wall_s, "engine_s": self._engine_s / max(scores.evaluated, 1)},
            engine=self._bench.describe(),
            pictures=stored_pictures(scores.gallery),
            notes=self._notes(),
            interrupted=self._interrupted,
        )
        written = self._out_bag is not None and self._out_bag.exists()
        return replace(result, bag=str(self._out_bag) if written else None)

    def _status(self) -> tuple[Status, str]:
        source = self._source
        if self._interrupted:
            return "partial", INTERRUPTED
        if not self._scores.evaluated:
            return "skipped", source.damage or self._why_none()
        if source.damage:
            return "partial", source.damage
        return "ok", ""

    def _why_none(self) -> str:
        """Return why there is no pair."""
        if self._failed:
            return f"the network could run on no pair: {next(iter(self._failed))}"
        source = self._source
        if source.last_refusal and not source.pairs:
            refused = "; ".join(f"{s}: {text}" for s, text in source.last_refusal.items())
            return f"no image could be used: {refused}"
        tolerance = self._settings.pairing.tolerance_ns / 1e6
        return (
            f"no pair: no image of {source.topics['thermal']!r} within {tolerance:g} ms of one of "
            f"{source.topics['rgb']!r}; `segmif sync-check` measures the offset of the two clocks"
        )

    def _notes(self) -> tuple[str, ...]:
        source = self._source
        notes = [*source.summary.notes, *source.swapped]
        notes += [f"{stream}: {text}" for stream, text in sorted(source.last_refusal.items())]
        notes += [f"{count} pairs failed: {text}" for text, count in self._failed.items()]
        notes += [f"{n} x {text}" for text, n in sorted(self._scores.label_problems.items())[:5]]
        return (*self._bench.notes, *notes, *self._point_notes)


def _source(path: Path, bench: EvaluationContext) -> DriveSource:
    settings = bench.settings
    return DriveSource(
        path,
        settings.pairing,
        rgb_topic=settings.rgb_topic,
        thermal_topic=settings.thermal_topic,
        label_topic=settings.label_topic,
        check=partial(objection, thermal_mode=settings.thermal.mode, calibration=bench.calibration),
    )


def _dropped(source: DriveSource) -> dict[str, int]:
    """Return images in no pair by camera and reason.

    Images whose partners were refused have a reason of their own: stamps and offsets are correct.
    """
    found: dict[str, int] = {}
    for stream, reasons in source.dropped.items():
        (other,) = (name for name in source.refused if name != stream)
        refused = sum(source.refused[other].values())
        for name, count in sorted(reasons.items()):
            lonely = min(count, refused) if name in _WITHOUT_PARTNER else 0
            refused -= lonely
            if lonely:
                key = f"{stream}.partner_refused"
                found[key] = found.get(key, 0) + lonely
            if count > lonely:
                found[f"{stream}.{name}"] = count - lonely
    for stream, reasons in source.refused.items():
        found |= {f"{stream}.{name}": count for name, count in sorted(reasons.items())}
    return found


_WITHOUT_PARTNER = (DropReason.TOO_OLD.value, DropReason.NO_PARTNER.value)
