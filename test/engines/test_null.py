# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from benchmarks.dds.null_bundle import write_null_bundle
from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import EngineError
from segmif_ros.engines.null import NullEngine

RGB, THERMAL = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8)


def test_a_declared_delay_is_waited_for_without_computing(tmp_path: Path) -> None:
    engine = NullEngine(Bundle.load(write_null_bundle(tmp_path, (16, 16), delay_ms=50.0)))
    began = perf_counter()
    engine.infer(RGB, THERMAL)
    assert perf_counter() - began >= 0.05


@pytest.mark.parametrize("delay", ["soon", -1.0, 1e6])
def test_a_delay_that_is_none_is_refused(tmp_path: Path, delay: object) -> None:
    bundle = Bundle.load(write_null_bundle(tmp_path, (16, 16), delay_ms=delay))
    with pytest.raises(EngineError, match="null_delay_ms"):
        NullEngine(bundle)
