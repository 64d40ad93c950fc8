# SPDX-License-Identifier: Apache-2.0
"""The pictures themselves: what is in them, what each lighting does, and that truth is true."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.render import Renderer, RigFrame, training_frame
from segmif_ros.rig.scene.lighting import Lighting
from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.rig.scene.scene import Label, Scene

SEEDS = range(16)
SHOWN = [label for label in Label if label is not Label.UNLABELLED]


@pytest.fixture(scope="module")
def streets() -> dict[int, RigFrame]:
    """One daylight frame of many streets."""
    rig = Rig.aligned()
    return {seed: Renderer(random_scene(seed), rig).frame(0.5) for seed in SEEDS}


@pytest.fixture(scope="module")
def shares(streets) -> np.ndarray:
    """Pixel share of each class in each street, (streets, 15)."""
    return np.array([np.bincount(f.labels.ravel(), minlength=15) for f in streets.values()]) / (
        640 * 480
    )


@pytest.fixture(scope="module")
def with_people(streets) -> Scene:
    """The street with the most people in sight."""
    return random_scene(max(streets, key=lambda s: (streets[s].labels == Label.PERSON).sum()))


@pytest.fixture(scope="module")
def lit(with_people) -> dict[Lighting, RigFrame]:
    """The street with the most people in every light."""
    rig = Rig.aligned()
    return {light: Renderer(with_people, rig, light).frame(0.5) for light in Lighting}


def contrast(rgb: np.ndarray, area: np.ndarray) -> float:
    """Deviation of brightness from its surroundings, without the noise of single pixels."""
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.5)
    return float((grey - cv2.GaussianBlur(grey, (0, 0), 6.0))[area].std())


def test_shapes_types_and_stamps():
    frame = Renderer(random_scene(3), Rig.default(), "night").frame(1.25, thermal_t_s=1.26)
    assert (frame.rgb.shape, frame.rgb.dtype) == ((480, 640, 3), np.uint8)
    assert (frame.thermal.shape, frame.thermal.dtype) == ((512, 640), np.uint16)
    assert (frame.labels.shape, frame.labels.dtype) == ((480, 640), np.uint8)
    assert frame.thermal_labels is None
    assert (frame.stamp_ns, frame.thermal_stamp_ns) == (1_250_000_000, 1_260_000_000)
    assert frame.rgb.flags.c_contiguous
    assert frame.thermal.flags.c_contiguous


@pytest.mark.parametrize("lighting", list(Lighting))
def test_same_inputs_same_bytes(lighting):
    rig = Rig.default()
    first = Renderer(random_scene(6), rig, lighting)
    first.frame(0.1)
    a = first.frame(0.7)
    b = Renderer(random_scene(6), rig, lighting).frame(0.7)
    for name in ("rgb", "thermal", "labels"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_time_moves_the_picture_and_the_noise():
    renderer = Renderer(random_scene(6), Rig.default())
    a, b = renderer.frame(0.0), renderer.frame(1.0)
    assert (a.labels != b.labels).mean() > 0.005
    assert (a.rgb != b.rgb).mean() > 0.3
    assert (a.thermal != b.thermal).mean() > 0.5


def test_all_classes_occur(shares):
    missing = [label.name for label in SHOWN if shares[:, label].max() < 2e-4]
    assert missing == []


def test_classes_have_the_shares_of_a_street(shares):
    mean = shares.mean(axis=0)
    assert 0.15 < mean[Label.ROAD] < 0.55
    assert 0.05 < mean[Label.SKY] < 0.4
    assert 0.05 < mean[Label.BUILDING] < 0.4
    assert 0.02 < mean[Label.VEGETATION] < 0.3
    assert 0.02 < mean[Label.CAR] < 0.25
    assert 0.002 < mean[Label.PERSON] < 0.06
    assert mean[Label.UNLABELLED] < 0.01
    assert (shares[:, Label.PERSON] > 0).mean() > 0.6
    for rare in (Label.TRUCK, Label.BUS, Label.MOTORCYCLE, Label.BICYCLE, Label.TRAFFIC_LIGHT):
        assert (shares[:, rare] > 1e-4).sum() >= 2, rare.name


def test_labels_follow_the_edges_of_the_picture(streets):
    """Where the sky ends in the labels, the picture changes: shifted labels fit worse."""
    near, shifted = [], []
    for frame in streets.values():
        grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
        edges = np.abs(cv2.Sobel(cv2.GaussianBlur(grey, (0, 0), 1.0), cv2.CV_32F, 1, 0))
        sky = (frame.labels == Label.SKY).astype(np.uint8)
        border = np.zeros_like(sky)
        border[:, 1:] = sky[:, 1:] ^ sky[:, :-1]
        near.append(edges[border > 0].mean())
        shifted.append(edges[np.roll(border, 6, axis=1) > 0].mean())
    assert np.mean(near) > 2.5 * np.mean(shifted)


def test_thermal_labels_match_the_thermal_picture_and_the_rgb_labels():
    rig = Rig.default()
    frame = Renderer(random_scene(14), rig, "night").frame(0.5, thermal_labels=True)
    assert frame.thermal_labels is not None
    person = frame.thermal_labels == Label.PERSON
    road = frame.thermal_labels == Label.ROAD
    inner = cv2.erode(person.astype(np.uint8), np.ones((3, 3))) > 0
    assert frame.thermal[inner].mean() > frame.thermal[road].mean() + 300
    warped = cv2.warpPerspective(
        frame.thermal_labels,
        rig.thermal_to_rgb_homography(18.0),
        (640, 480),
        flags=cv2.INTER_NEAREST,
    )
    assert (warped == frame.labels).mean() > 0.9


def test_aligned_rig_has_the_same_labels_in_both_cameras():
    frame = Renderer(random_scene(14), Rig.aligned()).frame(0.5, thermal_labels=True)
    assert frame.thermal_labels is not None
    assert (frame.thermal_labels == frame.labels).mean() > 0.995


@pytest.mark.parametrize("lighting", [Lighting.NIGHT, Lighting.SMOKE])
def test_people_are_warmer_than_the_road(lit, lighting):
    frame = lit[lighting]
    person = cv2.erode((frame.labels == Label.PERSON).astype(np.uint8), np.ones((3, 3))) > 0
    road = frame.labels == Label.ROAD
    kelvin = frame.thermal / 100.0
    assert 290.0 < np.median(kelvin[person]) < 310.0
    if lighting is Lighting.NIGHT:
        assert np.median(kelvin[person]) > np.median(kelvin[road]) + 5.0


def test_sky_is_cold_and_noise_is_small(streets):
    frame = streets[3]
    kelvin = frame.thermal / 100.0
    assert np.median(kelvin[frame.labels == Label.SKY]) < np.median(
        kelvin[frame.labels == Label.ROAD]
    )
    renderer = Renderer(random_scene(3), Rig.aligned())
    still = [renderer.thermal(0.5 + 1e-6 * i)[0].astype(np.float64) for i in range(6)]
    assert 0.03 < np.std(still, axis=0).mean() / 100.0 < 0.09


def test_smoke_blinds_the_visible_camera_only(lit):
    clear, smoke = lit[Lighting.DAY], lit[Lighting.SMOKE]
    # Houses stand some way off: what is close shows through the smoke, as in reality.
    houses = clear.labels == Label.BUILDING
    assert houses.mean() > 0.02
    assert contrast(smoke.rgb, houses) < 0.3 * contrast(clear.rgb, houses)
    person = clear.labels == Label.PERSON
    edges = [
        np.abs(cv2.Laplacian(f.thermal.astype(np.float32), cv2.CV_32F))[person].mean()
        for f in (clear, smoke)
    ]
    assert edges[1] > 0.7 * edges[0]


def test_night_is_dark_and_glare_is_bright(lit):
    frames = {light: frame.rgb for light, frame in lit.items()}
    mean = {light: float(rgb.mean()) for light, rgb in frames.items()}
    assert mean[Lighting.NIGHT] < 0.6 * mean[Lighting.DAY]
    assert mean[Lighting.NIGHT] < mean[Lighting.DUSK] < mean[Lighting.DAY]
    assert (frames[Lighting.GLARE].min(axis=2) > 235).mean() > 0.01
    assert (frames[Lighting.DAY].min(axis=2) > 235).mean() < 0.05


def test_truth_does_not_depend_on_the_light(lit):
    labels = [frame.labels for frame in lit.values()]
    assert all((other == labels[0]).all() for other in labels[1:])


def test_mono8_shows_the_same_picture():
    scene, rig = random_scene(5), Rig.default()
    raw = Renderer(scene, rig, "night").frame(0.0).thermal
    grey = Renderer(scene, rig, "night", encoding="mono8").frame(0.0).thermal
    assert grey.dtype == np.uint8
    inside = (grey > 0) & (grey < 255)
    assert inside.mean() > 0.5
    assert np.corrcoef(raw[inside], grey[inside])[0, 1] > 0.99


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"'noon'.*day, dusk"):
        Renderer(random_scene(1), Rig.default(), "noon")
    with pytest.raises(ValueError, match="mono12"):
        Renderer(random_scene(1), Rig.default(), encoding="mono12")


@pytest.mark.parametrize("seed", range(4))
def test_pictures_so_small_that_things_become_one_pixel(seed):
    rig = Rig.aligned().with_size(64, 48)
    renderer = Renderer(random_scene(seed), rig, encoding="mono8")
    for t_s in (0.0, 0.5, 1.0, 1.5):
        rgb, labels = renderer.visible(t_s)
        thermal, _ = renderer.thermal(t_s)
        assert rgb.shape == (48, 64, 3)
        assert labels.shape == thermal.shape == (48, 64)
        assert rgb.std() > 5


def test_a_seed_is_a_frame() -> None:
    first, again, other = (training_frame(seed) for seed in (12, 12, 13))
    assert first.rgb.shape == (480, 640, 3)
    assert first.thermal.shape == first.labels.shape == (480, 640)
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.thermal, again.thermal)
    assert not np.array_equal(first.rgb, other.rgb)
    assert set(np.unique(first.labels)) <= {*range(1, 15), 255}


def test_distractors_change_the_pictures_and_are_no_road_users() -> None:
    plain, hard = training_frame(180005), training_frame(180005, distractors=True)
    new = (plain.thermal.astype(int) - hard.thermal > 300) | (
        hard.thermal.astype(int) - plain.thermal > 300
    )
    assert new.mean() > 0.002
    assert not np.isin(hard.labels[new & (plain.labels < 8)], range(8, 14)).any()
    hot = hard.thermal[hard.labels == 14].max() / 100.0
    assert hot > plain.thermal[plain.labels == 14].max() / 100.0 + 5.0
    road = (plain.labels == 1) & (hard.labels == 1)
    painted = np.abs(plain.rgb[road].astype(int) - hard.rgb[road]).max(axis=1) > 30
    assert painted.sum() > 100
