# SPDX-License-Identifier: Apache-2.0
"""The node as users run it: a process of its own, spoken to over DDS.

The model is the tiny one: fused = RGB, mask = 8 where thermal > 127 else 1, confidence = thermal.
"""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
from node_process import NodeProcess, Operator, Peer, shared_memory_of
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from segmif_ros.render import DISPLAY
from segmif_ros.ros.images import to_message
from segmif_ros.share import share_path

pytestmark = pytest.mark.system

H, W = 480, 640
OUTPUTS = {"fused": "rgb8", "mask": "mono8", "confidence": "mono8", "overlay": "rgb8"}
RGB = np.random.default_rng(1).integers(0, 256, (H, W, 3), np.uint8)
THERMAL = np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1))


@pytest.fixture(scope="module")
def node(start_node, tiny_bundle) -> NodeProcess:
    """One active node for all tests that do not change its state."""
    process = start_node(
        model=tiny_bundle,
        engine="onnxruntime",
        diagnostics_rate_hz=5.0,
        freeze_detection=False,  # the cameras of these tests repeat one picture
    )
    process.wait_for_text("active: listening")
    return process


@pytest.fixture
def active(node: NodeProcess, peer: Peer) -> Peer:
    peer.until_heard()
    peer.listen(*OUTPUTS)
    peer.forget()
    # The first output shows that the matching of both ends is complete.
    while not all(peer.images.values()):
        peer.publish_pair(RGB, THERMAL)
        peer.spin(0.1)
        assert node.process.poll() is None, node.text()
    peer.spin(0.3)
    peer.forget()
    return peer


def pixels(message: Image) -> np.ndarray:
    channels = {"rgb8": 3, "mono8": 1}[message.encoding]
    shape = (message.height, message.width, channels)[: 3 if channels == 3 else 2]
    return np.frombuffer(message.data, np.uint8).reshape(shape)


def one_result(peer: Peer, **publish) -> dict[str, Image]:
    """Publish pairs until one has come back whole, and return its images."""
    peer.forget()
    stamps = []

    def complete() -> bool:
        return all(peer.images.values())

    for _ in range(100):
        stamps.append(peer.publish_pair(RGB, THERMAL, **publish).stamp)
        try:
            peer.until(complete, "a result", 0.3)
            break
        except AssertionError:
            continue
    assert complete()
    assert peer.images["fused"][0].header.stamp in stamps
    return {name: received[0] for name, received in peer.images.items()}


def test_pairs_come_back_with_their_headers_and_pixels(active):
    sent, lost = [], 0
    for _ in range(45):
        before = {name: len(received) for name, received in active.images.items()}
        sent.append(active.publish_pair(RGB, THERMAL))
        # A busy worker takes the newest pair alone, so the next one waits for this one; best
        # effort may lose it on the way.
        try:
            active.until(
                lambda before=before: all(
                    len(active.images[name]) > count for name, count in before.items()
                ),
                "the results of a pair",
                3.0,
            )
        except AssertionError:
            lost += 1
    assert lost <= 0.05 * len(sent)
    for name, encoding in OUTPUTS.items():
        for message in active.images[name]:
            assert message.header in sent
            assert message.header.frame_id == "rgb_optical"
            assert (message.encoding, message.height, message.width) == (encoding, H, W)
            assert message.step * H == len(message.data)
        stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in active.images[name]]
        assert stamps == sorted(set(stamps))
    np.testing.assert_array_equal(pixels(active.images["fused"][-1]), RGB)
    np.testing.assert_array_equal(pixels(active.images["confidence"][-1]), THERMAL)
    mask = pixels(active.images["mask"][-1])
    np.testing.assert_array_equal(mask, np.where(THERMAL > 127, 8, 1))
    overlay = pixels(active.images["overlay"][-1]).astype(int)
    expected = (RGB[0, 0].astype(int) + np.array(DISPLAY["road"])) / 2
    np.testing.assert_allclose(overlay[0, 0], expected, atol=1)


def test_labels_are_there_for_late_listeners(active):
    with Peer(active.node.context.get_domain_id()) as late:
        late.until(lambda: late.labels, "latched labels")
        labels = json.loads(late.labels[0].data)
    assert labels["model"] == "tiny"
    assert labels["unlabelled"] == 255
    assert labels["classes"][8] == {"id": 8, "name": "person", "color": [76, 99, 166]}


def test_diagnostics_count_and_time_what_happened(active):
    for _ in range(10):
        active.publish_pair(RGB, THERMAL)
        active.spin(1 / 15)
    active.forget()
    active.until(lambda: len(active.diagnostics) >= 2, "two reports")
    rgb, pairing, mode = (active.status(name) for name in ("rgb", "pairing", "mode"))
    engine, latency = active.status("engine"), active.status("latency")
    assert rgb["topic"] == "/segmif/input/rgb"
    assert int(rgb["received"]) >= 10
    pairs = int(pairing["pairs"])
    done = [int(engine["published"]), int(engine["failures"])]
    left_out = [int(pairing[key]) for key in ("replaced", "skipped", "withdrawn")]
    assert pairs + int(mode["singles"]) == sum(done) + sum(left_out) + int(mode["withheld"])
    assert mode["mode"] == "fused"
    drops = sum(int(n) for key, n in pairing.items() if key.startswith("dropped.rgb."))
    received = int(rgb["received"]) - int(rgb["refused"])
    assert received == pairs + drops + int(pairing["held.rgb"])
    assert engine["name"] == "onnxruntime"
    assert engine["size"] == "640x480"
    p50 = {
        stage: float(latency[f"latency.{stage}.p50_ms"])
        for stage in ("wait", "queue", "conversion", "inference", "publish", "node", "total")
    }
    assert p50["inference"] <= p50["node"] <= p50["total"]
    assert latency["latency.inference.count"] == engine["published"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"step": 3 * W - 1}, "step"),
        ({"height": H + 1}, "data_length"),
        ({"encoding": "mono16"}, "encoding"),
        ({"width": 0}, "size"),
    ],
)
def test_a_bad_image_is_counted_and_the_node_goes_on(active, node, damage, reason):
    before = int(active.status("rgb").get(f"refused.{reason}", 0))
    bad = to_message(RGB, "rgb8", active.header())
    for name, value in damage.items():
        setattr(bad, name, value)

    def counted() -> bool:
        active.cameras["rgb"].publish(bad)
        return int(active.status("rgb").get(f"refused.{reason}", 0)) > before

    active.until(counted, "the refusal in diagnostics")
    assert active.status("rgb")["last_refusal"]
    assert node.process.poll() is None
    one_result(active)


def test_zero_stamps_are_counted_and_never_published(active):
    active.forget()

    def counted() -> bool:
        active.publish_pair(RGB, THERMAL, stamp_ns=0)
        return int(active.status("pairing").get("dropped.rgb.zero_stamp", 0)) > 3

    active.until(counted, "zero stamps in diagnostics")
    for received in active.images.values():
        assert all(message.header.stamp.sec for message in received)


def test_a_looped_bag_goes_on(active):
    one_result(active)
    earlier = 1_600_000_000_000_000_000
    for lap in range(2):
        for i in range(8):
            active.publish_pair(RGB, THERMAL, stamp_ns=earlier + i * 200_000_000)
            active.spin(1 / 15)
        stamps = [m.header.stamp for m in active.images["fused"]]
        in_lap = sum(stamp.sec < 1_700_000_000 for stamp in stamps)
        assert in_lap >= 6, f"round {lap}"
        active.forget()
    active.until(
        lambda: int(active.status("pairing").get("clock_jumps", 0)) >= 2, "the jumps counted"
    )
    one_result(active)


def test_parameters_are_vetoed_with_a_reason_or_take_effect_at_once(active):
    operator = Operator(active)
    for name, value, words in [
        ("overlay_alpha", 2.0, "0"),
        ("tolerance_ms", -1.0, "tolerance_ms"),
        ("thermal_mode", "rainbow", "auto, passthrough, percentile, range"),
        ("thermal_low_percentile", 99.9, "low < high"),
        ("queue_size", "many", "queue_size is 'many' of type str, expected 1 to 1000 frames"),
        ("model", "other", "unconfigured"),
        ("autostart", False, "read-only"),
    ]:
        accepted, reason = operator.set_parameter(name, value)
        assert not accepted, name
        assert words in reason
    assert operator.set_parameter("confidence_threshold", 1.0) == (True, "")
    mask = pixels(one_result(active)["mask"])
    np.testing.assert_array_equal(mask, np.where(THERMAL == 255, 8, 255))
    assert operator.set_parameter("confidence_threshold", 0.0)[0]
    assert operator.set_parameter("tolerance_ms", 25)[0], "a whole number is a number"
    one_result(active)


def test_without_a_subscriber_nothing_is_computed(active):
    active.listen()
    active.spin(0.5)
    engine, pairing = active.status("engine"), active.status("pairing")

    def skipped() -> bool:
        active.publish_pair(RGB, THERMAL)
        active.spin(0.05)
        now = int(active.status("pairing")["skipped"])
        return now >= int(pairing["skipped"]) + 5

    active.until(skipped, "skipped pairs")
    after = active.status("engine")
    assert int(after["published"]) <= int(engine["published"]) + 1
    assert int(active.status("pairing")["pairs"]) >= int(pairing["pairs"]) + 5


def test_lazy_it_unsubscribes_without_subscribers_and_subscribes_for_one(active):
    operator = Operator(active)
    active.listen()
    assert operator.set_parameter("lazy", True) == (True, "")
    cameras = active.cameras.values()
    active.until(
        lambda: not any(camera.get_subscription_count() for camera in cameras), "no subscription"
    )
    active.until(lambda: "asleep" in active.status("mode").get("reason", ""), "the reason")
    assert active.status("mode")["mode"] == "stopped"
    # Nothing is wrong with a camera without a subscriber.
    assert {active.status(concern)["level"] for concern in ("mode", "rgb", "thermal")} == {"0"}
    active.listen("fused", "mask")
    active.until_heard()
    one_result(active)
    assert operator.set_parameter("lazy", False) == (True, "")


def test_only_the_wanted_output_is_published(active):
    active.listen("mask")
    active.spin(0.5)
    before = active.status("engine")

    def several() -> bool:
        active.publish_pair(RGB, THERMAL)
        active.spin(0.05)
        now = active.status("engine")
        return int(now["published.mask"]) >= int(before["published.mask"]) + 5

    active.until(several, "masks")
    after = active.status("engine")
    for name in ("fused", "overlay"):
        assert int(after[f"published.{name}"]) <= int(before[f"published.{name}"]) + 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_with_a_last_report(start_node, tiny_bundle, peer, number):
    process = start_node(
        model=tiny_bundle,
        engine="onnxruntime",
        diagnostics_rate_hz=0.1,
        ros_args=["-r", f"__node:=ending{int(number)}"],
    )
    process.wait_for_text("active: listening")
    peer.until(lambda: peer.diagnostics_from(f"ending{int(number)}"), "a publisher of diagnostics")
    mapped = shared_memory_of(process.pid)
    assert mapped, "the Fast DDS shared-memory transport should be in use"
    peer.forget()
    code, seconds = process.stop(number)
    assert code == 0
    assert seconds < 2.0
    assert "Traceback" not in process.text()
    left = {path for path in mapped if path.exists()} - shared_memory_of("self")
    # A port belongs to all processes that send to it, and ends with the last of them.
    assert not {path for path in left if "fastrtps_port" not in path.name}
    name = f"ending{int(number)}: pairing"
    peer.until(
        lambda: any(status.name == name for d in peer.diagnostics for status in d.status),
        "the last report",
        5.0,
    )


def test_lifecycle_by_services(start_node, tiny_bundle, peer, tmp_path):
    namespace = "managed"
    process = start_node(
        model=tmp_path / "missing",
        engine="onnxruntime",
        autostart=False,
        ros_args=["-r", f"__ns:=/{namespace}"],
    )
    manage = Operator(peer, f"/{namespace}/segmif")
    assert manage.state() == "unconfigured"
    assert not manage.transition("configure")
    assert manage.state() == "unconfigured"
    process.wait_for_text("configure failed: no manifest.json in")
    assert "Traceback" not in process.text()
    assert manage.set_parameter("model", str(tiny_bundle))[0]
    for _ in range(2):
        assert manage.transition("configure")
        assert manage.state() == "inactive"
        accepted, reason = manage.set_parameter("engine", "openvino")
        assert not accepted
        assert "cleanup" in reason
        assert manage.transition("activate")
        assert manage.state() == "active"
        assert peer.node.count_subscribers(f"/{namespace}/segmif/input/rgb") == 1
        assert manage.transition("deactivate")
        assert manage.transition("cleanup")
        assert manage.state() == "unconfigured"
    assert manage.transition("configure")
    assert manage.transition("activate")
    assert manage.transition("shutdown")
    assert manage.state() == "finalized"
    assert process.stop()[0] == 0


def test_what_rclpy_registers_itself_cannot_end_the_active_node(start_node, tiny_bundle, peer):
    process = start_node(
        model=tiny_bundle,
        engine="onnxruntime",
        use_sim_time=True,
        ros_args=["-r", "__ns:=/guarded"],
    )
    process.wait_for_text("active: listening")
    manage = Operator(peer, "/guarded/segmif")
    assert manage.state() == "active"
    assert not manage.transition_by_id(3), "it is active already"
    clock = peer.node.create_publisher(Clock, "/clock", 1)
    before_time = Clock()
    before_time.clock.sec = -1
    while "a callback of rclpy failed" not in process.text():
        clock.publish(before_time)
        peer.spin(0.1)
        assert process.process.poll() is None, process.text()
    assert manage.state() == "active"
    assert process.stop()[0] == 0


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"model": "no-such-model"}, "'models/no-such-model' is not part of this installation"),
        ({"calibration_file": "/nowhere.yaml"}, "calibration '/nowhere.yaml': cannot be read"),
        ({"tolerance_ms": 5000.0}, "tolerance_ms"),
        ({"engine": "warp"}, "engine is 'warp', expected auto, "),
        ({"queue_size": "many"}, "queue_size is 'many' of type str"),
    ],
)
def test_a_bad_start_is_one_line_and_a_bad_exit_code(start_node, tiny_bundle, parameters, words):
    process = start_node(**{"model": tiny_bundle, "engine": "onnxruntime"} | parameters)
    assert process.process.wait(30) == 1
    # Kilted's Fast DDS adds a warning of its own about the name of the profile's variable.
    lines = [line for line in process.text().splitlines() if "rmw_fastrtps" not in line]
    assert len(lines) == 1, process.text()
    assert "configure failed" in lines[0]
    assert words in lines[0]


def test_a_missing_parameter_file_is_named_without_a_traceback(start_node):
    process = start_node(ros_args=["--params-file", "/nowhere.yaml"])
    assert process.process.wait(30) == 2
    last = process.text().strip().splitlines()[-1]
    assert last.startswith("segmif_node: ")
    assert "/nowhere.yaml" in last
    assert "Traceback" not in process.text()


def test_a_camera_that_does_not_fit_the_calibration_is_refused_and_the_other_goes_on(
    start_node, tiny_bundle, ros_domain, tmp_path
):
    calibration = tmp_path / "other_size.yaml"
    calibration.write_text(
        f"rgb: {{width: {W}, height: {H}}}\nthermal: {{width: 320, height: 240}}\n"
        "homography: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]\nsource: another camera\n"
    )
    process = start_node(
        model=tiny_bundle,
        engine="onnxruntime",
        calibration_file=calibration,
        freeze_detection=False,
        diagnostics_rate_hz=10.0,
        ros_args=["-r", "__node:=misfit"],
    )
    process.wait_for_text("active: listening")
    with Peer(ros_domain, "misfit") as peer:
        peer.until_heard()
        peer.listen("mask")

        def alone() -> bool:
            peer.publish_pair(RGB, THERMAL)
            peer.spin(0.05)
            return bool(peer.images["mask"]) and peer.status("mode").get("mode") == "rgb_only"

        peer.until(alone, "masks of the RGB camera alone")
        assert "calibration is for 320x240" in peer.status("thermal")["last_refusal"]
        assert peer.status("thermal")["level"] == "2"
        assert peer.status("engine")["failures"] == "0"
    assert process.stop()[0] == 0


def test_the_shipped_parameter_file_and_qos_overrides(start_node, tiny_bundle, peer, tmp_path):
    overrides = tmp_path / "qos.yaml"
    overrides.write_text(
        "/**:\n  ros__parameters:\n    qos_overrides:\n      /front/rgb:\n"
        "        subscription: {reliability: reliable, depth: 3}\n"
    )
    shipped = share_path("config", "segmif.yaml")
    process = start_node(
        model=tiny_bundle,
        engine="onnxruntime",
        ros_args=[
            *("--params-file", str(shipped), "--params-file", str(overrides)),
            *("-r", "__ns:=/veh", "-r", "~/input/rgb:=/front/rgb"),
        ],
    )
    process.wait_for_text("active: listening to /front/rgb, /veh/segmif/input/thermal")

    def reliability(topic: str) -> set[str]:
        found = peer.node.get_subscriptions_info_by_topic(topic)
        return {info.qos_profile.reliability.name for info in found}

    peer.until(lambda: reliability("/front/rgb"), "the subscription")
    assert reliability("/front/rgb") == {"RELIABLE"}
    peer.until(lambda: reliability("/veh/segmif/input/thermal"), "the other subscription")
    assert reliability("/veh/segmif/input/thermal") == {"BEST_EFFORT"}
    assert process.stop()[0] == 0
