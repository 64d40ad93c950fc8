# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from segmif_ros.pairing import PairingConfig
from segmif_ros.recordings.recording import OUTPUTS, Downsampler, SetAssembler, evenly


def rgb(value: int) -> np.ndarray:
    return np.full((8, 12, 3), value, np.uint8)


def grey(value: int, dtype=np.uint8) -> np.ndarray:
    return np.full((8, 12), value, dtype)


def complete(assembler: SetAssembler, stamp: int, value: int):
    """Add all outputs of one stamp in the order fused, mask, confidence; return each answer."""
    images = {"fused": rgb(value), "mask": grey(value), "confidence": grey(value)}
    return [assembler.add_output(name, stamp, images[name]) for name in OUTPUTS]


def test_a_set_is_whole_when_its_last_output_arrives():
    assembler = SetAssembler()
    assembler.add_rgb(1000, rgb(1))
    assembler.add_thermal(1007, grey(2, np.uint16))
    first, second, whole = complete(assembler, 1000, 3)
    assert first is None
    assert second is None
    assert whole.stamp_ns == 1000
    assert (whole.rgb[0, 0, 0], whole.thermal[0, 0], whole.fused[0, 0, 0]) == (1, 2, 3)
    assert whole.thermal.dtype == np.uint16


def test_the_thermal_frame_nearest_in_time_belongs_to_the_set():
    assembler = SetAssembler()
    assembler.add_rgb(1000, rgb(1))
    for stamp in (900, 980, 1030, 1100):
        assembler.add_thermal(stamp, grey(stamp // 10 % 256))
    assert complete(assembler, 1000, 0)[-1].thermal[0, 0] == 98


def test_offsets_of_the_clocks_count_as_in_the_node():
    """Thermal stamps 40 ms late: by raw stamps the frame before the right one would be taken."""
    ms = 1_000_000
    pairing = PairingConfig(thermal_offset_ns=-40 * ms)
    assembler = SetAssembler(pairing)
    assembler.add_rgb(1000 * ms, rgb(1))
    for stamp in (1000, 1040, 1080):
        assembler.add_thermal(stamp * ms, grey(stamp // 10))
    assert complete(assembler, 1000 * ms, 0)[-1].thermal[0, 0] == 104
    assembler.pairing = PairingConfig()
    assert complete(assembler, 1000 * ms, 0)[-1].thermal[0, 0] == 100


def test_a_thermal_frame_beyond_the_tolerance_is_not_of_the_set():
    assembler = SetAssembler(PairingConfig(tolerance_ns=30))
    assembler.add_rgb(1000, rgb(1))
    assembler.add_thermal(1031, grey(2))
    assert complete(assembler, 1000, 0)[-1] is None
    assembler.add_thermal(1030, grey(3))
    assert complete(assembler, 1000, 0)[-1].thermal[0, 0] == 3


def test_outputs_of_several_stamps_may_interleave():
    assembler = SetAssembler()
    for stamp in (1, 2):
        assembler.add_rgb(stamp, rgb(stamp))
        assembler.add_thermal(stamp, grey(stamp))
    assert assembler.add_output("fused", 1, rgb(1)) is None
    assert assembler.add_output("fused", 2, rgb(2)) is None
    assert assembler.add_output("mask", 2, grey(2)) is None
    assert assembler.add_output("mask", 1, grey(1)) is None
    assert assembler.add_output("confidence", 1, grey(1)).stamp_ns == 1
    assert assembler.add_output("confidence", 2, grey(2)).stamp_ns == 2


def test_without_the_camera_images_there_is_no_set():
    assembler = SetAssembler()
    assembler.add_thermal(5, grey(0))
    assert complete(assembler, 5, 0) == [None, None, None]
    assembler = SetAssembler()
    assembler.add_rgb(5, rgb(0))
    assert complete(assembler, 5, 0) == [None, None, None]


def test_memory_is_bounded_and_the_oldest_goes():
    assembler = SetAssembler(inputs=3, pending=2)
    for stamp in range(10):
        assembler.add_rgb(stamp, rgb(stamp))
        assembler.add_thermal(stamp, grey(stamp))
    assert complete(assembler, 6, 0)[-1] is None
    assert complete(assembler, 7, 0)[-1] is not None
    for stamp in (7, 8, 9):
        assembler.add_output("fused", stamp, rgb(0))
    assert assembler.add_output("mask", 9, grey(0)) is None
    assert assembler.add_output("confidence", 9, grey(0)) is not None
    assembler.add_output("mask", 7, grey(0))
    assert assembler.add_output("confidence", 7, grey(0)) is None


def test_shrinking_keeps_shape_types_and_class_ids():
    assembler = SetAssembler()
    assembler.add_rgb(1, np.zeros((480, 640, 3), np.uint8))
    assembler.add_thermal(1, np.full((512, 640), 30000, np.uint16))
    mask = np.full((480, 640), 8, np.uint8)
    mask[:, 320:] = 255
    assembler.add_output("fused", 1, np.zeros((480, 640, 3), np.uint8))
    assembler.add_output("mask", 1, mask)
    small = assembler.add_output("confidence", 1, mask).shrunk((240, 320))
    assert small.rgb.shape == small.fused.shape == (240, 320, 3)
    assert small.thermal.shape == (240, 300)
    assert small.thermal.dtype == np.uint16
    assert int(small.thermal.max()) == 30000
    assert set(np.unique(small.mask)) == {8, 255}


def test_shrinking_never_enlarges():
    assembler = SetAssembler()
    assembler.add_rgb(1, rgb(4))
    assembler.add_thermal(1, grey(4))
    assert complete(assembler, 1, 4)[-1].shrunk((480, 640)).rgb.shape == (8, 12, 3)


@pytest.mark.parametrize("total", [0, 1, 7, 8, 9, 100, 1000])
def test_decimation_is_even_and_bounded(total):
    sample = Downsampler[int](8)
    for item in range(total):
        sample.add(item)
    items = sample.items
    assert len(items) <= 8
    assert len(items) >= min(total, 4)
    steps = set(np.diff(items).tolist())
    assert len(steps) <= 1
    if total:
        assert items[0] == 0
        assert total - items[-1] <= 2 * max(steps, default=1)


def test_decimation_spares_work_that_would_be_thrown_away():
    lazy, eager = Downsampler[int](8), Downsampler[int](8)
    made = 0
    for item in range(1000):
        eager.add(item)
        if lazy.wants_next():
            lazy.add(item)
            made += 1
        else:
            lazy.skip()
    assert lazy.items == eager.items
    assert made < 60


def test_decimation_refuses_a_useless_capacity():
    with pytest.raises(ValueError, match="capacity is 1"):
        Downsampler(1)


def test_evenly_picks_the_middle_of_each_share():
    items = tuple(range(100))
    assert evenly(items, 5) == (10, 30, 50, 70, 90)
    assert evenly(items, 100) == items
    assert evenly((1, 2), 5) == (1, 2)
    assert evenly((), 5) == ()
