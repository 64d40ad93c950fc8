# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stand_in_gpu import StandInGpu


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInGpu]:
    pytest.importorskip("onnx")
    from stand_in_gpu import stand_in_gpu

    with stand_in_gpu(tmp_path_factory.mktemp("driver")) as made:
        yield made


@pytest.fixture
def gpu(machine: StandInGpu) -> Iterator[StandInGpu]:
    """A machine with a stand-in GPU and TensorRT 10.3; everything must be given back to it."""
    from segmif_ros.engines.tensorrt.buffers import keep_primary_context

    machine.controls.reset()
    machine.behaviour.reset()
    machine.install("10.3.0")
    keep_primary_context()
    live, retained = machine.controls.live, machine.controls.retained
    yield machine
    gc.collect()
    assert machine.controls.live == live, "something was not given back to the driver"
    assert machine.controls.retained == retained, "an engine still holds the context"
