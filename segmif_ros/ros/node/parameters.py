# SPDX-License-Identifier: Apache-2.0
"""The one table of parameters: the node, config/segmif.yaml and the README follow it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from segmif_ros.bundle import PRECISIONS
from segmif_ros.engines import ENGINES
from segmif_ros.engines.base import WORKSPACE_MIB, EngineOptions
from segmif_ros.pairing import LONGEST_OFFSET_MS, MILLISECOND, PairingConfig, Stream
from segmif_ros.perceiver import FAR_PASSES, FarPass
from segmif_ros.ros.node.modes import MAY_GO_ON, ModePolicy
from segmif_ros.ros.node.scheduling import SchedulingError, parse_cores
from segmif_ros.thermal import THERMAL_MODES, ThermalError, ThermalMode, ThermalSettings

Value = bool | int | float | str


class ParameterError(ValueError):
    """A parameter value cannot be used; the message names it, its range and the remedy."""


class Change(Enum):
    """When a parameter may change."""

    LIVE = "live"
    UNCONFIGURED = "while unconfigured"
    START = "at start"


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One row of the table.

    Attributes:
        name: ROS parameter name.
        default: default value; its type is the parameter's type.
        description: one sentence for `ros2 param describe`, the YAML and the README.
        unit: unit of the value, empty for none.
        minimum: smallest number, inclusive.
        maximum: largest number, inclusive.
        choices: allowed strings, empty for any.
        change: when it may be set.
    """

    name: str
    default: Value
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    change: Change = Change.LIVE

    @property
    def type_name(self) -> str:
        """Type as ROS names it."""
        return {bool: "bool", int: "integer", float: "double", str: "string"}[type(self.default)]

    @property
    def allowed(self) -> str:
        """Range or choices in words, empty for no limit."""
        if self.choices:
            return ", ".join(self.choices)
        if self.minimum is None or self.maximum is None:
            return ""
        return f"{self.minimum:.8g} to {self.maximum:.8g}"

    def check(self, value: object) -> str | None:
        """Return what is wrong with a value, None if it is good."""
        expected = f"expected {self.type_name}"
        if self.allowed:
            expected = f"expected {self.allowed}" + (f" {self.unit}" if self.unit else "")
        if value is False and "off" in self.choices:
            return None  # what YAML makes of `off` without quotes
        if not self._is_of_type(value):
            return f"{self.name} is {value!r} of type {type(value).__name__}, {expected}"
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}, {expected}"
        if isinstance(self.default, int | float) and not isinstance(self.default, bool):
            number = cast("float", value)
            low = -math.inf if self.minimum is None else self.minimum
            high = math.inf if self.maximum is None else self.maximum
            if not low <= number <= high:
                return f"{self.name} is {value}, {expected}"
        return None

    def _is_of_type(self, value: object) -> bool:
        if isinstance(self.default, bool):
            return isinstance(value, bool)
        if isinstance(self.default, float):
            # `tolerance_ms:=25` on a command line is an integer; people mean 25.0.
            return isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(self.default, int):
            return isinstance(value, int) and not isinstance(value, bool)
        return isinstance(value, str)

    def descriptor(self) -> ParameterDescriptor:
        """Return the ROS descriptor: what `ros2 param describe` shows."""
        out = ParameterDescriptor(name=self.name, description=self.description)
        notes = [f"unit: {self.unit}"] if self.unit else []
        if self.choices:
            notes.append(f"one of: {self.allowed}")
        out.additional_constraints = "; ".join([*notes, f"change: {self.change.value}"])
        out.read_only = self.change is Change.START
        # `check` judges the type: rclpy's own words are "expected '2' got '4'".
        out.dynamic_typing = True
        if self.minimum is not None and self.maximum is not None:
            if isinstance(self.default, float):
                out.floating_point_range = [
                    FloatingPointRange(from_value=float(self.minimum), to_value=float(self.maximum))
                ]
            else:
                out.integer_range = [
                    IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum), step=1)
                ]
        return out


_OFFLINE = Change.UNCONFIGURED
INPUT_TRANSPORTS: dict[str, frozenset[Stream]] = {
    "raw": frozenset(),
    "compressed": frozenset(Stream),
    "rgb_compressed": frozenset({Stream.RGB}),
    "thermal_compressed": frozenset({Stream.THERMAL}),
}
"""Value of `input_transport` -> cameras whose images come compressed."""
PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        "model",
        "segmif-nano",
        "Model bundle: the name of a shipped one, or the path of a folder with a manifest.json.",
        change=_OFFLINE,
    ),
    ParameterSpec(
        "engine",
        "auto",
        "Runtime that executes the model; auto takes the fastest that is installed.",
        choices=ENGINES,
        change=_OFFLINE,
    ),
    ParameterSpec(
        "engine_precision",
        "auto",
        "Precision of the engine; auto is the model's own on the CPU, and with TensorRT fp16 if "
        "that is accurate enough, else fp32.",
        choices=("auto", *PRECISIONS),
        change=_OFFLINE,
    ),
    ParameterSpec(
        "engine_device",
        "CPU",
        "What OpenVINO computes on: CPU, GPU, GPU.1, NPU or AUTO; all but CPU pass the accuracy "
        "gate first.",
        change=_OFFLINE,
    ),
    ParameterSpec(
        "engine_cache",
        "",
        "Folder of built engines and of what the accuracy gate said of them; empty for "
        "segmif_ros/engines in the user's cache.",
        change=_OFFLINE,
    ),
    ParameterSpec(
        "engine_workspace_mib",
        WORKSPACE_MIB,
        "GPU memory that TensorRT may use as scratch space.",
        unit="MiB",
        minimum=16,
        maximum=65536,
        change=_OFFLINE,
    ),
    ParameterSpec(
        "build_only",
        False,
        "With engine tensorrt: build and check the engine when configured, then end the process.",
        change=_OFFLINE,
    ),
    ParameterSpec(
        "engine_threads",
        0,
        "CPU threads of the engine; 0 uses all cores.",
        minimum=0,
        maximum=256,
        change=_OFFLINE,
    ),
    ParameterSpec(
        "cpu_affinity",
        "",
        "Cores for the worker and the engine, as taskset writes them: 2,3 or 0-3, one as 2-2; "
        "empty for all.",
        change=_OFFLINE,
    ),
    ParameterSpec(
        "realtime_priority",
        0,
        "SCHED_FIFO priority of the worker and the engine; 0 is ordinary scheduling.",
        minimum=0,
        maximum=99,
        change=_OFFLINE,
    ),
    ParameterSpec(
        "autostart",
        True,
        "Configure and activate at start; set false when a lifecycle manager does it.",
        change=Change.START,
    ),
    ParameterSpec(
        "lazy",
        False,
        "Stop listening to the cameras while no output has a subscriber; nobody watches them then.",
    ),
    ParameterSpec(
        "tolerance_ms",
        30.0,
        "Largest time difference of a pair, after the offsets.",
        unit="ms",
        minimum=0.0,
        maximum=1000.0,
    ),
    ParameterSpec(
        "max_wait_ms",
        100.0,
        "Longest time that a frame waits for its partner.",
        unit="ms",
        minimum=0.0,
        maximum=5000.0,
    ),
    ParameterSpec(
        "rgb_offset_ms",
        0.0,
        "Added to RGB stamps before they are compared; published stamps stay as they are.",
        unit="ms",
        minimum=-LONGEST_OFFSET_MS,
        maximum=LONGEST_OFFSET_MS,
    ),
    ParameterSpec(
        "thermal_offset_ms",
        0.0,
        "Added to thermal stamps before they are compared; -40 for stamps that are 40 ms late, "
        "-37000 for TAI beside Unix time.",
        unit="ms",
        minimum=-LONGEST_OFFSET_MS,
        maximum=LONGEST_OFFSET_MS,
    ),
    ParameterSpec(
        "queue_size",
        10,
        "Most frames of one camera that wait for a partner.",
        unit="frames",
        minimum=1,
        maximum=1000,
    ),
    ParameterSpec(
        "input_transport",
        "raw",
        "Images come raw, or as JPEG or PNG on the topic with /compressed; of both cameras or one.",
        choices=tuple(INPUT_TRANSPORTS),
        change=_OFFLINE,
    ),
    ParameterSpec(
        "calibration_file",
        "",
        "Calibration YAML with the thermal to RGB geometry; empty when the images are registered.",
        change=_OFFLINE,
    ),
    ParameterSpec(
        "thermal_mode",
        "auto",
        "How thermal values become 8 bits; auto leaves 8-bit images alone and stretches others.",
        choices=THERMAL_MODES,
    ),
    ParameterSpec(
        "thermal_low_percentile",
        1.0,
        "Percentile of the thermal image that becomes black (modes percentile and plateau).",
        unit="%",
        minimum=0.0,
        maximum=100.0,
    ),
    ParameterSpec(
        "thermal_high_percentile",
        99.7,
        "Percentile of the thermal image that becomes white (modes percentile and plateau).",
        unit="%",
        minimum=0.0,
        maximum=100.0,
    ),
    ParameterSpec(
        "thermal_smoothing",
        0.1,
        "Weight of the newest frame in the running limits; small keeps the picture steady.",
        minimum=0.001,
        maximum=1.0,
    ),
    ParameterSpec(
        "thermal_low",
        0.0,
        "Thermal value that becomes black (mode range): pixel * thermal_scale + thermal_offset.",
        minimum=-100000.0,
        maximum=100000.0,
    ),
    ParameterSpec(
        "thermal_high",
        65535.0,
        "Thermal value that becomes white (mode range), in the same unit as thermal_low.",
        minimum=-100000.0,
        maximum=100000.0,
    ),
    ParameterSpec(
        "thermal_scale",
        1.0,
        "Mode range: value = pixel * thermal_scale + thermal_offset; 0.01 for centi-kelvin.",
        minimum=1e-6,
        maximum=1000.0,
    ),
    ParameterSpec(
        "thermal_offset",
        0.0,
        "See thermal_scale; -273.15 makes degrees Celsius of kelvin.",
        minimum=-100000.0,
        maximum=100000.0,
    ),
    ParameterSpec(
        "thermal_minimum_span",
        0.0,
        "Smallest difference between black and white (modes percentile and plateau), in pixel "
        "values; 0 takes 100 for whole numbers and 2 for 32FC1, which is in degrees.",
        minimum=0.0,
        maximum=100000.0,
    ),
    ParameterSpec(
        "thermal_plateau",
        3.0,
        "Where mode plateau cuts off histogram peaks, in mean bins; 1 is nearly an even stretch.",
        minimum=1.0,
        maximum=100.0,
    ),
    ParameterSpec(
        "thermal_clahe",
        0.0,
        "Clip limit of local contrast (CLAHE) on top of any mode; 0 is off, 2 is moderate.",
        minimum=0.0,
        maximum=40.0,
    ),
    ParameterSpec(
        "degraded_mode",
        "any",
        "Camera that may go on alone when no pairs come (docs/modes.md); none stops publishing.",
        choices=tuple(MAY_GO_ON),
    ),
    ParameterSpec(
        "degraded_after_ms",
        1000.0,
        "Time without a usable pair after which one camera goes on alone, or the node stops; for "
        "cameras slower than 2.5 Hz two and a half of their periods.",
        unit="ms",
        minimum=100.0,
        maximum=60000.0,
    ),
    ParameterSpec(
        "freeze_detection",
        True,
        "Take a camera that repeats one picture for lost; false for still pictures on a bench.",
    ),
    ParameterSpec(
        "overlay_alpha",
        0.5,
        "Weight of the class colours in the overlay.",
        minimum=0.0,
        maximum=1.0,
    ),
    ParameterSpec(
        "jpeg_quality",
        80,
        "JPEG quality of fused/compressed.",
        minimum=1,
        maximum=100,
    ),
    ParameterSpec(
        "confidence_threshold",
        0.0,
        "Mask pixels with a lower probability become 255, unlabelled.",
        minimum=0.0,
        maximum=1.0,
    ),
    ParameterSpec(
        "far_pass",
        "off",
        "centre: the network runs again on the middle half of the picture at twice the size, and "
        "its class counts where it is surer; small objects far away, at twice the time.",
        choices=FAR_PASSES,
    ),
    ParameterSpec(
        "diagnostics_rate_hz",
        1.0,
        "How often the node reports on /diagnostics.",
        unit="Hz",
        minimum=0.1,
        maximum=20.0,
    ),
    ParameterSpec(
        "latency_budget_warn_ms",
        200.0,
        "Diagnostics WARN when the 95th percentile from stamp to publishing is longer; 0 is off.",
        unit="ms",
        minimum=0.0,
        maximum=60000.0,
    ),
    ParameterSpec(
        "latency_budget_error_ms",
        1000.0,
        "The same for ERROR; 0 is off.",
        unit="ms",
        minimum=0.0,
        maximum=60000.0,
    ),
    ParameterSpec(
        "alignment_check_s",
        5.0,
        "Time between two measurements of how well thermal lies on RGB; 0 is off.",
        unit="s",
        minimum=0.0,
        maximum=3600.0,
    ),
    ParameterSpec(
        "alignment_warn_px",
        4.0,
        "Diagnostics WARN when thermal lies further off (RMS over the picture), in pixels of an "
        "RGB image 640 wide; 0 is off.",
        unit="px",
        minimum=0.0,
        maximum=50.0,
    ),
    ParameterSpec(
        "rgb_expected_hz",
        0.0,
        "Rate that diagnostics expect of the RGB camera; 0 takes the median of the last minute.",
        unit="Hz",
        minimum=0.0,
        maximum=1000.0,
    ),
    ParameterSpec(
        "thermal_expected_hz",
        0.0,
        "Rate that diagnostics expect of the thermal camera; 0 takes the median of the last "
        "minute.",
        unit="Hz",
        minimum=0.0,
        maximum=1000.0,
    ),
)
SPECS: dict[str, ParameterSpec] = {spec.name: spec for spec in PARAMETERS}


@dataclass(frozen=True, slots=True)
class Settings:
    """All parameter values, checked and in the units that the code uses."""

    model: str
    engine: str
    engine_options: EngineOptions
    build_only: bool
    cpu_affinity: tuple[int, ...]
    realtime_priority: int
    autostart: bool
    lazy: bool
    compressed_inputs: frozenset[Stream]
    calibration_file: str
    pairing: PairingConfig
    thermal: ThermalSettings
    modes: ModePolicy
    freeze_detection: bool
    overlay_alpha: float
    jpeg_quality: int
    confidence_threshold: float
    far_pass: FarPass
    diagnostics_rate_hz: float
    latency_budget_warn_ms: float
    latency_budget_error_ms: float
    alignment_check_s: float
    alignment_warn_px: float
    expected_hz: Mapping[Stream, float]

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Settings:
        """Build from one value per row of the table.

        Raises:
            ParameterError: with every value that is out of range, or values that contradict.
        """
        wrong = [text for spec in PARAMETERS if (text := spec.check(values[spec.name]))]
        if wrong:
            raise ParameterError("; ".join(wrong))
        warn, error = values["latency_budget_warn_ms"], values["latency_budget_error_ms"]
        if 0.0 < error < warn:
            raise ParameterError(
                f"latency_budget_error_ms is {error:g}, expected 0 or at least "
                f"latency_budget_warn_ms, {warn:g}"
            )
        if values["build_only"] and values["engine"] != "tensorrt":
            raise ParameterError(
                f"build_only builds an engine of TensorRT, and engine is {values['engine']!r}; set "
                "engine to tensorrt, or build_only to false"
            )
        if values["engine_device"] != "CPU" and values["engine"] not in ("auto", "openvino"):
            raise ParameterError(
                f"engine_device {values['engine_device']!r} is for OpenVINO, and engine is "
                f"{values['engine']!r}; set engine to openvino, or engine_device to CPU"
            )
        try:
            thermal = ThermalSettings(
                mode=cast("ThermalMode", values["thermal_mode"]),
                low_percentile=float(values["thermal_low_percentile"]),
                high_percentile=float(values["thermal_high_percentile"]),
                smoothing=float(values["thermal_smoothing"]),
                low=float(values["thermal_low"]),
                high=float(values["thermal_high"]),
                scale=float(values["thermal_scale"]),
                offset=float(values["thermal_offset"]),
                minimum_span=float(values["thermal_minimum_span"]),
                plateau=float(values["thermal_plateau"]),
                clahe=float(values["thermal_clahe"]),
            )
            cores = parse_cores(values["cpu_affinity"])
        except (ThermalError, SchedulingError) as err:
            raise ParameterError(str(err)) from err
        return cls(
            model=values["model"],
            engine=values["engine"],
            engine_options=EngineOptions(
                threads=values["engine_threads"],
                precision=values["engine_precision"],
                device=values["engine_device"],
                cache=Path(cache).expanduser() if (cache := values["engine_cache"]) else None,
                workspace_mib=values["engine_workspace_mib"],
            ),
            build_only=values["build_only"],
            cpu_affinity=cores,
            realtime_priority=values["realtime_priority"],
            autostart=values["autostart"],
            lazy=values["lazy"],
            compressed_inputs=INPUT_TRANSPORTS[values["input_transport"]],
            calibration_file=values["calibration_file"],
            pairing=PairingConfig(
                tolerance_ns=_nanoseconds(values["tolerance_ms"]),
                max_wait_ns=_nanoseconds(values["max_wait_ms"]),
                rgb_offset_ns=_nanoseconds(values["rgb_offset_ms"]),
                thermal_offset_ns=_nanoseconds(values["thermal_offset_ms"]),
                queue_size=values["queue_size"],
            ),
            thermal=thermal,
            modes=ModePolicy(
                degraded_mode=values["degraded_mode"],
                after_ns=_nanoseconds(values["degraded_after_ms"]),
            ),
            freeze_detection=values["freeze_detection"],
            overlay_alpha=float(values["overlay_alpha"]),
            jpeg_quality=values["jpeg_quality"],
            confidence_threshold=float(values["confidence_threshold"]),
            far_pass=cast("FarPass", values["far_pass"] or "off"),
            diagnostics_rate_hz=float(values["diagnostics_rate_hz"]),
            latency_budget_warn_ms=float(values["latency_budget_warn_ms"]),
            latency_budget_error_ms=float(values["latency_budget_error_ms"]),
            alignment_check_s=float(values["alignment_check_s"]),
            alignment_warn_px=float(values["alignment_warn_px"]),
            expected_hz={s: float(values[f"{s.value}_expected_hz"]) for s in Stream},
        )


def _nanoseconds(milliseconds: float) -> int:
    return round(milliseconds * MILLISECOND)


DEFAULTS = Settings.from_values({spec.name: spec.default for spec in PARAMETERS})
"""The values of a node that nobody gave parameters."""


def _yaml_scalar(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def parameters_yaml() -> str:
    """Return the text of config/segmif.yaml: every parameter with its default."""
    lines = [
        "# Parameters of segmif_node with their defaults. Written from the table in",
        "# segmif_ros/ros/node/parameters.py; a test compares the two.",
        "# QoS of a topic: qos_overrides.<topic>.subscription.reliability (or .depth, .history),",
        "# for example qos_overrides: {/camera/image: {subscription: {reliability: reliable}}}",
        "/**:",
        "  ros__parameters:",
    ]
    for spec in PARAMETERS:
        facts = [spec.unit, spec.allowed, f"change: {spec.change.value}"]
        lines += [
            f"    # {spec.description}",
            f"    # [{'; '.join(fact for fact in facts if fact)}]",
            f"    {spec.name}: {_yaml_scalar(spec.default)}",
        ]
    return "\n".join(lines) + "\n"


def parameter_table_markdown() -> str:
    """Return the README's table of parameters."""
    lines = [
        "| parameter | type | default | unit | range | change | meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for spec in PARAMETERS:
        default = _yaml_scalar(spec.default)
        cells = (
            f"`{spec.name}`",
            spec.type_name,
            f"`{default}`",
            spec.unit,
            spec.allowed,
            spec.change.value,
            spec.description,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
