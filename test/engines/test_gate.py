# SPDX-License-Identifier: Apache-2.0
"""The accuracy gate passes what gives the same pictures and says why it refuses the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from segmif_ros.engines.base import EngineError, Inference
from segmif_ros.engines.gate import (
    SAME_DB,
    GateError,
    GateResult,
    GateThresholds,
    ReferencePair,
    psnr_db,
    run_gate,
)
from segmif_ros.frames import Image8

SIZE = (60, 80)
NAMES = ("road", "person", "car")
Change = Callable[[Inference], Inference]


class Painter:
    """An engine that paints from its input and then does something to it."""

    def __init__(self, change: Change = lambda result: result, size: tuple[int, int] = SIZE):
        self._change, self.size, self.runs = change, size, 0

    @property
    def name(self) -> str:
        return "painter"

    def infer(self, rgb: Image8, thermal: Image8) -> Inference:
        self.runs += 1
        fused = (rgb // 2 + thermal[..., None] // 2).astype(np.uint8)
        mask = np.where(thermal > 200, 1, np.where(thermal < 40, 2, 0)).astype(np.uint8)
        confidence = np.full(SIZE, 100, np.uint8) + thermal // 4
        return self._change(Inference(fused, mask, confidence))

    def describe(self) -> Mapping[str, str]:
        return {"runtime": "painter 1", "device": "CPU", "precision": "fp32", "threads": "1"}

    def close(self) -> None:
        """Nothing to free."""


def pairs(count: int = 3) -> list[ReferencePair]:
    rng = np.random.default_rng(3)
    return [
        ReferencePair(
            f"pair {i}",
            rng.integers(20, 200, (*SIZE, 3), np.uint8),
            rng.integers(0, 256, SIZE, np.uint8),
        )
        for i in range(count)
    ]


def gate(change: Change, **asked: float) -> GateResult:
    return run_gate(
        Painter(change), Painter(), pairs(), GateThresholds.of(asked), class_names=NAMES
    )


def with_mask(share: float, value: int = 0, label: int | None = None) -> Change:
    """Write `value` over a share of the mask, or of one class of it."""

    def change(result: Inference) -> Inference:
        mask = result.mask.copy()
        places = np.flatnonzero((mask == label) | (label is None))
        mask.ravel()[places[: round(share * places.size)]] = value
        return result._replace(mask=mask)

    return change


def test_the_same_pictures_pass_with_perfect_scores() -> None:
    result = gate(lambda same: same)
    assert result.passed
    assert result.reasons == ()
    assert result.fused_psnr_db == SAME_DB
    assert result.mask_agreement == 1.0
    assert result.class_agreement == dict.fromkeys(NAMES, 1.0)
    assert [row.name for row in result.pairs] == ["pair 0", "pair 1", "pair 2"]
    assert result.candidate["name"] == "painter"
    assert result.summary().startswith("passed: fused 120.0 dB, mask 100.00%")


def test_rounding_passes() -> None:
    def rounded(result: Inference) -> Inference:
        return result._replace(fused=result.fused + 1, confidence=result.confidence + 1)

    result = gate(rounded)
    assert result.passed
    assert result.fused_psnr_db == pytest.approx(48.13, abs=0.01)  # one level everywhere


def test_a_noisy_picture_is_refused_with_its_figure() -> None:
    def noisy(result: Inference) -> Inference:
        return result._replace(fused=result.fused ^ 8)

    result = gate(noisy)
    assert not result.passed
    assert "dB, at least 38.0 required (3 of 3 pairs miss it)" in result.reasons[0]
    assert gate(noisy, fused_psnr_db=25.0).passed


def test_a_wrong_mask_is_refused() -> None:
    result = gate(with_mask(0.05, value=1))
    assert any("of the mask agrees, at least 98.00% required" in text for text in result.reasons)
    assert 0.94 < result.mask_agreement < 0.98
    assert gate(with_mask(0.001, value=1)).passed


def test_a_small_class_that_vanishes_is_refused_though_the_mask_agrees() -> None:
    asked = {"mask_agreement": 0.5}
    result = gate(with_mask(0.4, value=0, label=1), **asked)
    assert len(result.reasons) == 1
    assert result.reasons[0].startswith("of these classes too little agrees: person 60.0%")
    assert gate(with_mask(0.4, value=0, label=1), class_share=0.9, **asked).passed


def test_a_rare_class_that_is_found_nowhere_is_refused() -> None:
    """It is too rare to ask how well it agrees, but overflow in its logit must not pass."""

    def with_few(result: Inference) -> Inference:
        mask = np.where(result.mask == 2, 0, result.mask)
        mask[:2, :5] = 2
        return result._replace(mask=mask)

    def refusals(change: Change, **asked: float) -> tuple[str, ...]:
        candidate, reference = Painter(lambda result: change(with_few(result))), Painter(with_few)
        thresholds = GateThresholds.of(asked)
        return run_gate(candidate, reference, pairs(), thresholds, class_names=NAMES).reasons

    def without(result: Inference) -> Inference:
        return result._replace(mask=np.where(result.mask == 2, 0, result.mask))

    assert refusals(lambda result: result) == ()
    assert refusals(without) == ("these classes are lost: car",)
    assert refusals(without, class_agreement=0.0) == ()


def test_ids_that_are_no_class_are_refused() -> None:
    result = gate(with_mask(0.001, value=200))
    assert any("mask ids [200] are no class, expected 0 to 2" in text for text in result.reasons)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_what_nan_and_overflow_turn_into_is_named(value: int) -> None:
    def dead(result: Inference) -> Inference:
        return result._replace(
            fused=np.full_like(result.fused, value),
            confidence=np.full_like(result.confidence, value),
        )

    result = gate(dead, fused_psnr_db=0, confidence_error=1, saturation=1)
    assert result.reasons == (
        f"pair 0: the fused image is {value} everywhere (and 5 more of the kind)",
    )


def test_a_constant_output_is_no_reason_where_the_reference_is_constant_too() -> None:
    def blank(result: Inference) -> Inference:
        return result._replace(confidence=np.zeros_like(result.confidence))

    result = run_gate(Painter(blank), Painter(blank), pairs(), class_names=NAMES)
    assert result.passed, result.reasons


def test_saturated_regions_are_refused() -> None:
    def burnt(result: Inference) -> Inference:
        fused = result.fused.copy()
        fused[: SIZE[0] // 10] = 255
        return result._replace(fused=fused)

    result = gate(burnt, fused_psnr_db=0)
    assert any("more of fused is 0 or 255, at most 1.00% required" in t for t in result.reasons)


def test_an_engine_that_fails_is_refused_not_raised() -> None:
    def broken(_result: Inference) -> Inference:
        raise EngineError("out of memory")

    result = gate(broken)
    assert not result.passed
    assert result.reasons == ("pair 0: the engine failed: out of memory",)
    assert result.pairs == ()


def test_a_failing_reference_is_an_error() -> None:
    def broken(_result: Inference) -> Inference:
        raise EngineError("out of memory")

    with pytest.raises(EngineError, match="out of memory"):
        run_gate(Painter(), Painter(broken), pairs())


def test_engines_of_two_sizes_and_no_pairs_are_errors() -> None:
    with pytest.raises(EngineError, match=r"runs at \(30, 40\).*one bundle"):
        run_gate(Painter(size=(30, 40)), Painter(), pairs())
    with pytest.raises(EngineError, match="no pair of pictures"):
        run_gate(Painter(), Painter(), [])


def test_progress_starts_at_nothing_and_ends_at_all() -> None:
    seen: list[tuple[int, int]] = []
    run_gate(Painter(), Painter(), pairs(2), progress=lambda *step: seen.append(step))
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_a_result_survives_being_stored() -> None:
    for result in (gate(lambda same: same), gate(with_mask(0.5, value=2))):
        assert GateResult.from_json(result.to_json()) == result


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "null", '{"format": 1, "a": 2}'])
def test_a_text_that_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(GateError, match="run the gate again"):
        GateResult.from_json(text)


def test_a_result_that_contradicts_itself_or_is_of_another_format_is_refused() -> None:
    raw = json.loads(gate(lambda same: same).to_json())
    with pytest.raises(GateError, match="format 2, expected 1"):
        GateResult.from_json(json.dumps({**raw, "format": 2}))
    with pytest.raises(GateError, match="says passed"):
        GateResult.from_json(json.dumps({**raw, "passed": False}))
    for passed in ("yes", 1, None):
        with pytest.raises(GateError, match=f"passed is {passed!r}, expected 'bool'"):
            GateResult.from_json(json.dumps({**raw, "passed": passed}))


def test_a_long_list_of_reasons_is_cut_in_the_summary() -> None:
    result = replace(gate(with_mask(0.5, value=2)), reasons=tuple("abcde"))
    assert result.summary() == "failed: a; b; c; and 2 more"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"psnr": 30}, "unknown field 'psnr', expected only class_agreement"),
        ({"mask_agreement": 1.5}, "mask_agreement is 1.5, expected 'float' <= 1.0"),
        ({"fused_psnr_db": -1}, "fused_psnr_db is -1, expected 'float' >= 0.0"),
        ({"saturation": "much"}, "saturation is 'much'"),
        ({"saturation": True}, "saturation is True"),
        ({"mask_agreement": float("nan")}, "mask_agreement is nan"),
    ],
)
def test_thresholds_that_are_none_are_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(GateError) as caught:
        GateThresholds.of(changes)
    assert said in str(caught.value)


def test_psnr_of_known_pictures() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr_db(black, black) == SAME_DB
    assert psnr_db(black + 255, black) == pytest.approx(0.0)
    assert psnr_db(black + 16, black) == pytest.approx(24.05, abs=0.01)
