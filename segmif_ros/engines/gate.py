# SPDX-License-Identifier: Apache-2.0
"""Compares an engine's pictures with the reference before the engine is used.

The candidate and the reference run the same pairs of pictures. Outputs are bytes, so NaN and
infinity appear as constant or saturated pictures or as zero confidence, which the gate detects. It
does not depend on a runtime.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from segmif_ros.documents import DocumentError, conform, parse_json
from segmif_ros.engines.base import Engine, EngineError, Inference
from segmif_ros.frames import Image8

SAME_DB = 120.0
"""PSNR reported for equal pictures, dB."""
LOST_SHARE = 0.0005
"""Share of the reference's pixels from which a class must occur in the candidate."""
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_FORMAT = 1
_SHOWN = 3
"""Number of reasons in the line for diagnostics."""


class GateError(ValueError):
    """Thresholds or a stored result cannot be read; the message names the value."""


@dataclass(frozen=True, slots=True)
class GateThresholds:
    """Requirements for an engine. A manifest's `gate` block overrides single values.

    Attributes:
        fused_psnr_db: PSNR of the fused image in every pair, at least.
        mask_agreement: share of pixels with the same class in every pair, at least.
        class_agreement: intersection over union of each class with the reference's, over all pairs
            together, at least.
        class_share: classes with a smaller share of the reference's pixels are not compared.
        confidence_error: mean absolute difference of the confidence in every pair, range 0 to 1,
            at most.
        saturation: largest excess over the reference of the share of fused values at 0 or 255.
    """

    fused_psnr_db: Annotated[float, msgspec.Meta(ge=0, le=SAME_DB)] = 38.0
    mask_agreement: Share = 0.98
    class_agreement: Share = 0.85
    class_share: Share = 0.005
    confidence_error: Share = 0.03
    saturation: Share = 0.01

    @classmethod
    def of(cls, changes: Mapping[str, Any]) -> GateThresholds:
        """Return the defaults with the values of a manifest's `gate` block.

        Raises:
            GateError: an unknown name, or a value outside its range.
        """
        try:
            return conform(dict(changes), cls)
        except DocumentError as err:
            raise GateError(f"gate: {err}") from err


@dataclass(frozen=True, slots=True, eq=False)
class ReferencePair:
    """One pair of pictures that both engines are given.

    Attributes:
        name: for messages, for example "night 2".
        rgb: HxWx3 uint8.
        thermal: HxW uint8, registered to `rgb`.
    """

    name: str
    rgb: Image8
    thermal: Image8


@dataclass(frozen=True, slots=True)
class PairScores:
    """Figures of the candidate on one pair; names as in `GateThresholds`."""

    name: str
    fused_psnr_db: float
    mask_agreement: float
    confidence_error: float
    saturation: float


@dataclass(frozen=True, slots=True)
class GateResult:
    """The result and its figures.

    Attributes:
        passed: the engine may be used.
        reasons: why not, one sentence each; empty when passed.
        candidate: facts of the tested engine: its name and `Engine.describe`.
        reference: the same of the reference.
        fused_psnr_db: worst pair.
        mask_agreement: worst pair.
        class_agreement: intersection over union by name of the compared classes.
        pairs: one row for each pair that ran.
        thresholds: the requirements.
        ran: the engine ran every pair; if not, the machine may be the cause.
    """

    passed: bool
    reasons: tuple[str, ...]
    candidate: Mapping[str, str]
    reference: Mapping[str, str]
    fused_psnr_db: float
    mask_agreement: float
    class_agreement: Mapping[str, float]
    pairs: tuple[PairScores, ...]
    thresholds: GateThresholds
    ran: bool = True

    def to_json(self) -> str:
        """Return the text to store beside an engine."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> GateResult:
        """Read a stored result.

        Raises:
            GateError: not the text of `to_json`.
        """
        try:
            raw = parse_json(text)
            number = raw.pop("format", None) if isinstance(raw, dict) else None
            if number != _FORMAT:
                raise GateError(f"format {number!r}, expected {_FORMAT}; run the gate again")
            result = conform(raw, cls)
        except DocumentError as err:
            raise GateError(f"not a gate result ({err}); run the gate again") from err
        if result.passed is not (not result.reasons):
            raise GateError(f"gate result says passed {result.passed!r} beside {result.reasons}")
        return result

    def summary(self) -> str:
        """Return one line for diagnostics and logs."""
        if not self.passed:
            more = len(self.reasons) - _SHOWN
            rest = f"; and {more} more" if more > 0 else ""
            return f"failed: {'; '.join(self.reasons[:_SHOWN])}{rest}"
        text = f"passed: fused {self.fused_psnr_db:.1f} dB, mask {self.mask_agreement:.2%}"
        if self.class_agreement:
            name, value = min(self.class_agreement.items(), key=lambda item: item[1])
            text += f", lowest class {name} {value:.1%}"
        return f"{text}, {len(self.pairs)} pairs"


def _require_comparable(
    candidate: Engine, reference: Engine, pairs: Sequence[ReferencePair]
) -> None:
    if candidate.size != reference.size:
        raise EngineError(
            f"{candidate.name} runs at {candidate.size} and {reference.name} at {reference.size}; "
            "the gate compares engines of one bundle"
        )
    if not pairs:
        raise EngineError("the gate was given no pair of pictures to compare on")


def run_gate(
    candidate: Engine,
    reference: Engine,
    pairs: Sequence[ReferencePair],
    thresholds: GateThresholds | None = None,
    *,
    class_names: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> GateResult:
    """Run every pair on both engines and compare.

    Args:
        candidate: the engine to check; failing to run is a result, not an error.
        reference: usually ONNX Runtime in fp32, see `reference.open_reference`.
        pairs: at least one, at the engines' size.
        thresholds: the requirements, the defaults if None.
        class_names: of the mask ids in order, for messages; a mask with other ids fails.
        progress: called with pairs done and pairs in all, before the first and after each.

    Raises:
        EngineError: the reference fails, the engines have different sizes, or no pair is given.
    """
    thresholds = thresholds or GateThresholds()
    _require_comparable(candidate, reference, pairs)
    counts, rows = _ClassCounts(), list[PairScores]()
    reasons: list[str] = []
    dead: list[str] = []
    report = progress or (lambda _done, _all: None)
    report(0, len(pairs))
    for pair in pairs:
        expected = reference.infer(pair.rgb, pair.thermal)
        try:
            got = candidate.infer(pair.rgb, pair.thermal)
        except EngineError as err:
            reasons.append(f"{pair.name}: the engine failed: {err}")
            break
        rows.append(_score(pair.name, got, expected))
        counts.add(expected.mask, got.mask)
        dead += _lifeless(pair.name, got, expected)
        report(len(rows), len(pairs))
    classes = counts.agreement(thresholds.class_share, class_names)
    if dead:
        more = f" (and {len(dead) - 1} more of the kind)" if len(dead) > 1 else ""
        reasons.append(f"{dead[0]}{more}")
    reasons += _missed(rows, thresholds)
    reasons += counts.reasons(classes, thresholds.class_agreement, class_names)
    return GateResult(
        passed=not reasons,
        reasons=tuple(reasons),
        candidate={"name": candidate.name, **candidate.describe()},
        reference={"name": reference.name, **reference.describe()},
        fused_psnr_db=min((row.fused_psnr_db for row in rows), default=0.0),
        mask_agreement=min((row.mask_agreement for row in rows), default=0.0),
        class_agreement=classes,
        pairs=tuple(rows),
        thresholds=thresholds,
        ran=len(rows) == len(pairs),
    )


class _ClassCounts:
    """Pixels by class id: in the reference, in the candidate, in both."""

    def __init__(self) -> None:
        self._reference, self._candidate, self._both = np.zeros((3, 256), np.int64)

    def add(self, expected: Image8, got: Image8) -> None:
        self._reference += _histogram(expected)
        self._candidate += _histogram(got)
        self._both += _histogram(expected[expected == got])

    def agreement(self, least_share: float, names: Sequence[str]) -> dict[str, float]:
        """Intersection over union of the classes with enough pixels in the reference."""
        least = max(least_share * self._reference.sum(), 1.0)
        union = self._reference + self._candidate - self._both
        return {
            _name(i, names): round(float(self._both[i] / union[i]), 5)
            for i in map(int, np.flatnonzero(self._reference >= least))
        }

    def reasons(
        self, agreement: Mapping[str, float], least: float, names: Sequence[str]
    ) -> list[str]:
        """Return invalid ids, classes with too little agreement, and missing classes.

        Without class names every id is one; without a required agreement none is lost.
        """
        found = []
        strange = [int(i) for i in np.flatnonzero(self._candidate) if names and i >= len(names)]
        if strange:
            found.append(f"mask ids {strange} are no class, expected 0 to {len(names) - 1}")
        few = [f"{name} {value:.1%}" for name, value in agreement.items() if value < least]
        if few:
            asked = f"at least {least:.1%} required"
            found.append(f"of these classes too little agrees: {', '.join(few)}; {asked}")
        shown = self._reference >= max(LOST_SHARE * self._reference.sum(), 1.0)
        lost = [_name(int(i), names) for i in np.flatnonzero(shown & (self._both == 0))]
        if lost and least:
            found.append(f"these classes are lost: {', '.join(lost)}")
        return found


def _name(label: int, names: Sequence[str]) -> str:
    return names[label] if label < len(names) else str(label)


def _histogram(ids: Image8) -> NDArray[np.int64]:
    return np.bincount(ids.ravel(), minlength=256).astype(np.int64)


def _score(name: str, got: Inference, expected: Inference) -> PairScores:
    off = got.confidence.astype(np.int16) - expected.confidence
    return PairScores(
        name=name,
        fused_psnr_db=round(psnr_db(got.fused, expected.fused), 2),
        mask_agreement=round(float((got.mask == expected.mask).mean()), 5),
        confidence_error=round(float(np.abs(off).mean()) / 255.0, 5),
        saturation=round(max(_saturated(got.fused) - _saturated(expected.fused), 0.0), 5),
    )


def psnr_db(image: Image8, expected: Image8) -> float:
    """Peak signal to noise ratio of two pictures of one shape, dB; `SAME_DB` for equal ones."""
    square = float(np.square(image.astype(np.float32) - expected).mean())
    return SAME_DB if square == 0.0 else min(10.0 * float(np.log10(255.0**2 / square)), SAME_DB)


def _saturated(image: Image8) -> float:
    return float(((image == 0) | (image == 255)).mean())


def _lifeless(name: str, got: Inference, expected: Inference) -> list[str]:
    """Outputs that are constant although the reference's are not, as after NaN or overflow."""
    reasons = []
    for output, image, reference in (
        ("fused image", got.fused, expected.fused),
        ("confidence", got.confidence, expected.confidence),
    ):
        lowest, highest = int(image.min()), int(image.max())
        if lowest == highest and (reference != lowest).any():
            reasons.append(f"{name}: the {output} is {lowest} everywhere")
    return reasons


def _missed(rows: Sequence[PairScores], asked: GateThresholds) -> list[str]:
    """Return which thresholds are missed, each with its worst pair."""
    reasons = []
    for score, text, least in (
        ("fused_psnr_db", "fused is at {:.1f} dB, at least {:.1f} required", True),
        ("mask_agreement", "{:.2%} of the mask agrees, at least {:.2%} required", True),
        ("confidence_error", "confidence is off by {:.3f}, at most {:.3f} required", False),
        ("saturation", "{:.2%} more of fused is 0 or 255, at most {:.2%} required", False),
    ):
        limit = getattr(asked, score)
        found = [(getattr(row, score), row.name) for row in rows]
        missed = [(v, name) for v, name in found if (v < limit if least else v > limit)]
        if missed:
            value, name = min(missed) if least else max(missed)
            share = f" ({len(missed)} of {len(rows)} pairs miss it)" if len(rows) > 1 else ""
            reasons.append(f"{name}: {text.format(value, limit)}{share}")
    return reasons
