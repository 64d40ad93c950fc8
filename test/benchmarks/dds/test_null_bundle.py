# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.dds.null_bundle import write_null_bundle
from segmif_ros.bundle import Bundle
from segmif_ros.engines import open_engine


@pytest.mark.parametrize("engine", ["null", "onnxruntime"])
def test_the_bundle_is_a_real_one(tmp_path: Path, engine: str) -> None:
    bundle = Bundle.load(write_null_bundle(tmp_path / "b", (48, 64)))
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    opened = open_engine(engine, bundle)
    np.testing.assert_array_equal(opened.infer(rgb, rgb[..., 0].copy()).fused, rgb)
    opened.close()
