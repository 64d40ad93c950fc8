# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node, declared once.

The node, config/segmif.yaml, docs/parameters.md and `segmif evaluate --params` follow from
`PARAMETERS`, and so do the settings that the code reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from segmif_ros.bundle import PRECISIONS
from segmif_ros.engines import ENGINES
from segmif_ros.engines.base import WORKSPACE_MIB, EngineOptions
from segmif_ros.pairing import LONGEST_OFFSET_MS, MILLISECOND, PairingConfig, Stream
from segmif_ros.scheduling import SchedulingError, parse_cores
from segmif_ros.thermal import THERMAL_MODES, ThermalError, ThermalSettings

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
        text: one sentence for `ros2 param describe`, the YAML and docs/parameters.md.
        fills: the field of `Settings`, or of a part of it, that it fills; its own name if empty.
        unit: unit of the value, empty for none.
        limits: smallest and largest number, inclusive; None for any.
        choices: allowed strings, empty for any.
        change: when it may be set.
    """

    name: str
    default: Value
    text: str
    fills: str = ""
    unit: str = ""
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    change: Change = Change.LIVE

    @property
    def place(self) -> tuple[str, str]:
        """Part of the settings (empty for `Settings` itself) and field in it."""
        part, _, name = (self.fills or self.name).rpartition(".")
        return part, name

    @property
    def type_name(self) -> str:
        """Type as ROS names it."""
        return {bool: "bool", int: "integer", float: "double", str: "string"}[type(self.default)]

    @property
    def allowed(self) -> str:
        """Range or choices in words, empty for no limit."""
        if self.choices:
            return ", ".join(self.choices)
        return "" if self.limits is None else f"{self.limits[0]:.8g} to {self.limits[1]:.8g}"

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
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = self.limits or (float("-inf"), float("inf"))
            if not low <= value <= high:
                return f"{self.name} is {value}, {expected}"
        return None

    def field_value(self, value: Any) -> Any:
        """Return a checked value as its field has it."""
        special = _SPECIAL.get(self.name)
        if special is not None:
            return special(value)
        if self.place[1].endswith("_ns"):
            return round(value * MILLISECOND)
        return float(value) if isinstance(self.default, float) else value

    def parameter_value(self, field_value: Any) -> Any:
        """Return the parameter that makes this value of its field, for numbers and words."""
        return field_value / MILLISECOND if self.place[1].endswith("_ns") else field_value

    def _is_of_type(self, value: object) -> bool:
        if isinstance(self.default, bool):
            return isinstance(value, bool)
        if isinstance(self.default, float):
            # `tolerance_ms:=25` on a command line is an integer; people mean 25.0.
            return isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(self.default, int):
            return isinstance(value, int) and not isinstance(value, bool)
        return isinstance(value, str)


MAY_GO_ON = {
    "none": frozenset[Stream](),
    "rgb": frozenset({Stream.RGB}),
    "thermal": frozenset({Stream.THERMAL}),
    "any": frozenset(Stream),
}
"""Values of `degraded_mode`: the cameras that may continue alone."""

INPUT_TRANSPORTS: dict[str, frozenset[Stream]] = {
    "raw": frozenset(),
    "compressed": frozenset(Stream),
    "rgb_compressed": frozenset({Stream.RGB}),
    "thermal_compressed": frozenset({Stream.THERMAL}),
}
"""Value of `input_transport` -> cameras whose images come compressed."""

_SPECIAL: dict[str, Any] = {
    "cpu_affinity": parse_cores,
    "engine_cache": lambda folder: Path(folder).expanduser() if folder else None,
    "input_transport": INPUT_TRANSPORTS.__getitem__,
}
_OFFLINE = Change.UNCONFIGURED

# fmt: off
PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec("model", "segmif-nano", change=_OFFLINE,
        text="Model bundle: the name of a shipped one, or the path of a folder with a "
             "manifest.json."),
    ParameterSpec("engine", "auto", choices=ENGINES, change=_OFFLINE,
        text="Runtime that executes the model; auto takes the fastest that is installed."),
    ParameterSpec("engine_precision", "auto", fills="engine_options.precision",
        choices=("auto", *PRECISIONS), change=_OFFLINE,
        text="Precision of the engine; auto is the model's own on the CPU, and with TensorRT fp16 "
             "if that is accurate enough, else fp32."),
    ParameterSpec("engine_device", "CPU", fills="engine_options.device", change=_OFFLINE,
        text="What OpenVINO computes on: CPU, GPU, GPU.1, NPU or AUTO; all but CPU pass the "
             "accuracy gate first."),
    ParameterSpec("engine_cache", "", fills="engine_options.cache", change=_OFFLINE,
        text="Folder of built engines and their accuracy gate results; empty for "
             "segmif_ros/engines in the user's cache."),
    ParameterSpec("engine_workspace_mib", WORKSPACE_MIB, fills="engine_options.workspace_mib",
        unit="MiB", limits=(16, 65536), change=_OFFLINE,
        text="GPU memory that TensorRT may use as scratch space."),
    ParameterSpec("build_only", False, change=_OFFLINE,
        text="With engine tensorrt: build and check the engine when configured, then end the "
             "process."),
    ParameterSpec("engine_threads", 0, fills="engine_options.threads", limits=(0, 256),
        change=_OFFLINE,
        text="CPU threads of the engine; 0 uses all cores."),
    ParameterSpec("cpu_affinity", "", change=_OFFLINE,
        text="Cores for the worker and the engine, as taskset writes them: 2,3 or 0-3, one as 2-2; "
             "empty for all."),
    ParameterSpec("realtime_priority", 0, limits=(0, 99), change=_OFFLINE,
        text="SCHED_FIFO priority of the worker and the engine; 0 is ordinary scheduling."),
    ParameterSpec("autostart", True, change=Change.START,
        text="Configure and activate at start; set false when a lifecycle manager does it."),
    ParameterSpec("lazy", False,
        text="Unsubscribe from the cameras while no output has a subscriber; they are not "
             "monitored then."),
    ParameterSpec("tolerance_ms", 30.0, fills="pairing.tolerance_ns", unit="ms",
        limits=(0.0, 1000.0),
        text="Largest time difference of a pair, after the offsets."),
    ParameterSpec("max_wait_ms", 100.0, fills="pairing.max_wait_ns", unit="ms",
        limits=(0.0, 5000.0),
        text="Longest time that a frame waits for its partner."),
    ParameterSpec("rgb_offset_ms", 0.0, fills="pairing.rgb_offset_ns", unit="ms",
        limits=(-LONGEST_OFFSET_MS, LONGEST_OFFSET_MS),
        text="Added to RGB stamps before they are compared; published stamps stay as they are."),
    ParameterSpec("thermal_offset_ms", 0.0, fills="pairing.thermal_offset_ns", unit="ms",
        limits=(-LONGEST_OFFSET_MS, LONGEST_OFFSET_MS),
        text="Added to thermal stamps before they are compared; -40 for stamps that are 40 ms "
             "late, -37000 for TAI beside Unix time."),
    ParameterSpec("queue_size", 10, fills="pairing.queue_size", unit="frames", limits=(1, 1000),
        text="Most frames of one camera that wait for a partner."),
    ParameterSpec("input_transport", "raw", fills="compressed_inputs",
        choices=tuple(INPUT_TRANSPORTS), change=_OFFLINE,
        text="Images come raw, or as JPEG or PNG on the topic with /compressed; of both cameras or "
             "one."),
    ParameterSpec("calibration_file", "", change=_OFFLINE,
        text="Calibration YAML with the thermal to RGB geometry; empty when the images are "
             "registered."),
    ParameterSpec("thermal_mode", "auto", fills="thermal.mode", choices=THERMAL_MODES,
        text="How thermal values become 8 bits; auto leaves 8-bit images alone and stretches "
             "others."),
    ParameterSpec("thermal_low_percentile", 1.0, fills="thermal.low_percentile", unit="%",
        limits=(0.0, 100.0),
        text="Percentile of the thermal image that becomes black (modes percentile and plateau)."),
    ParameterSpec("thermal_high_percentile", 99.7, fills="thermal.high_percentile", unit="%",
        limits=(0.0, 100.0),
        text="Percentile of the thermal image that becomes white (modes percentile and plateau)."),
    ParameterSpec("thermal_smoothing", 0.1, fills="thermal.smoothing", limits=(0.001, 1.0),
        text="Weight of the newest frame in the running limits; small keeps the picture steady."),
    ParameterSpec("thermal_low", 0.0, fills="thermal.low", limits=(-100000.0, 100000.0),
        text="Thermal value that becomes black (mode range): pixel * thermal_scale + "
             "thermal_offset."),
    ParameterSpec("thermal_high", 65535.0, fills="thermal.high", limits=(-100000.0, 100000.0),
        text="Thermal value that becomes white (mode range), in the same unit as thermal_low."),
    ParameterSpec("thermal_scale", 1.0, fills="thermal.scale", limits=(1e-06, 1000.0),
        text="Value = pixel * thermal_scale + thermal_offset, for mode range, ~/output/temperature "
             "and objects; 0.01 for centi-kelvin."),
    ParameterSpec("thermal_offset", 0.0, fills="thermal.offset", limits=(-100000.0, 100000.0),
        text="See thermal_scale; -273.15 converts kelvin to degrees Celsius."),
    ParameterSpec("thermal_minimum_span", 0.0, fills="thermal.minimum_span", limits=(0.0, 100000.0),
        text="Smallest difference between black and white (modes percentile and plateau), in pixel "
             "values; 0 takes 100 for whole numbers and 2 for 32FC1, which is in degrees."),
    ParameterSpec("thermal_plateau", 3.0, fills="thermal.plateau", limits=(1.0, 100.0),
        text="Where mode plateau cuts off histogram peaks, in mean bins; 1 is nearly an even "
             "stretch."),
    ParameterSpec("thermal_clahe", 0.0, fills="thermal.clahe", limits=(0.0, 40.0),
        text="Clip limit of local contrast (CLAHE) on top of any mode; 0 is off, 2 is moderate."),
    ParameterSpec("degraded_mode", "any", fills="modes.degraded_mode", choices=tuple(MAY_GO_ON),
        text="Camera that may continue alone when no pairs come (docs/modes.md); none stops "
             "publishing."),
    ParameterSpec("degraded_after_ms", 1000.0, fills="modes.after_ns", unit="ms",
        limits=(100.0, 60000.0),
        text="Time without a usable pair after which the node continues with one camera or stops "
             "publishing; for cameras slower than 2.5 Hz two and a half of their periods."),
    ParameterSpec("freeze_detection", True,
        text="Treat a camera that repeats one picture as lost; false for still pictures on a "
             "bench."),
    ParameterSpec("overlay_alpha", 0.5, limits=(0.0, 1.0),
        text="Weight of the class colours in the overlay."),
    ParameterSpec("overlay_boxes", False,
        text="Draw boxes and ids of objects into the overlay."),
    ParameterSpec("jpeg_quality", 80, limits=(1, 100),
        text="JPEG quality of fused/compressed."),
    ParameterSpec("confidence_threshold", 0.0, limits=(0.0, 1.0),
        text="Mask pixels with a lower probability become 255, unlabelled."),
    ParameterSpec("points_tolerance_ms", 60.0, fills="points_tolerance_ns", unit="ms",
        limits=(0.0, 1000.0),
        text="Largest time between a LiDAR cloud or depth image and the mask that labels it."),
    ParameterSpec("rgb_frame", "", change=_OFFLINE,
        text="Optical frame that RGB images must name, and that /tf_static uses; empty takes "
             "theirs."),
    ParameterSpec("thermal_frame", "", change=_OFFLINE,
        text="The same for the thermal camera."),
    ParameterSpec("publish_tf", True, change=_OFFLINE,
        text="Put the calibration's mountings on /tf_static; false where a URDF describes the "
             "cameras."),
    ParameterSpec("diagnostics_rate_hz", 1.0, unit="Hz", limits=(0.1, 20.0),
        text="How often the node reports on /diagnostics."),
    ParameterSpec("latency_budget_warn_ms", 200.0, unit="ms", limits=(0.0, 60000.0),
        text="Diagnostics WARN when the 95th percentile from stamp to publishing is longer; 0 is "
             "off."),
    ParameterSpec("latency_budget_error_ms", 1000.0, unit="ms", limits=(0.0, 60000.0),
        text="The same for ERROR; 0 is off."),
    ParameterSpec("alignment_check_s", 5.0, unit="s", limits=(0.0, 3600.0),
        text="Time between two measurements of how well thermal lies on RGB; 0 is off."),
    ParameterSpec("alignment_warn_px", 4.0, unit="px", limits=(0.0, 50.0),
        text="Diagnostics WARN when thermal lies further off (RMS over the picture), in pixels of "
             "an RGB image 640 wide; 0 is off."),
    ParameterSpec("rgb_expected_hz", 0.0, fills="expected_hz.rgb", unit="Hz", limits=(0.0, 1000.0),
        text="Rate that diagnostics expect of the RGB camera; 0 takes the median of the last "
             "minute."),
    ParameterSpec("thermal_expected_hz", 0.0, fills="expected_hz.thermal", unit="Hz",
        limits=(0.0, 1000.0),
        text="Rate that diagnostics expect of the thermal camera; 0 takes the median of the last "
             "minute."),
)
# fmt: on
SPECS: dict[str, ParameterSpec] = {spec.name: spec for spec in PARAMETERS}


@dataclass(frozen=True, slots=True)
class ModePolicy:
    """What the parameters allow when a camera is lost.

    Attributes:
        degraded_mode: key of `MAY_GO_ON`.
        after_ns: time without a usable pair before a camera continues alone.
    """

    degraded_mode: str = "any"
    after_ns: int = 1_000 * MILLISECOND


def _by_stream(rgb: float, thermal: float) -> Mapping[Stream, float]:
    return {Stream.RGB: rgb, Stream.THERMAL: thermal}


_PARTS: Mapping[str, Any] = {
    "engine_options": EngineOptions,
    "pairing": PairingConfig,
    "thermal": ThermalSettings,
    "modes": ModePolicy,
    "expected_hz": _by_stream,
}


def part(name: str, values: Mapping[str, Any]) -> Any:
    """Build one part of the settings; what is absent has its default.

    Args:
        name: "pairing", "thermal", "modes", "engine_options" or "expected_hz".
        values: parameter name -> value.

    Raises:
        ParameterError: a value that is out of range, or values that contradict.
    """
    chosen = {}
    for spec in PARAMETERS:
        if spec.place[0] == name:
            value = values.get(spec.name, spec.default)
            if problem := spec.check(value):
                raise ParameterError(problem)
            chosen[spec.place[1]] = spec.field_value(value)
    try:
        return _PARTS[name](**chosen)
    except (ThermalError, ValueError) as err:
        raise ParameterError(str(err)) from err


@dataclass(frozen=True, slots=True)
class Settings:
    """All parameter values, checked and in the units that the code uses; see `PARAMETERS`."""

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
    overlay_boxes: bool
    jpeg_quality: int
    confidence_threshold: float
    points_tolerance_ns: int
    rgb_frame: str
    thermal_frame: str
    publish_tf: bool
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
        wrong = wrong or _contradictions(values)
        if wrong:
            raise ParameterError("; ".join(wrong))
        try:
            own = {
                spec.place[1]: spec.field_value(values[spec.name])
                for spec in PARAMETERS
                if not spec.place[0]
            }
        except SchedulingError as err:
            raise ParameterError(str(err)) from err
        return cls(**own, **{name: part(name, values) for name in _PARTS})


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    """Return problems of values together."""
    wrong = []
    warn, error = values["latency_budget_warn_ms"], values["latency_budget_error_ms"]
    if 0.0 < error < warn:
        wrong.append(
            f"latency_budget_error_ms is {error:g}, expected 0 or at least "
            f"latency_budget_warn_ms, {warn:g}"
        )
    if values["build_only"] and values["engine"] != "tensorrt":
        wrong.append(
            f"build_only builds an engine of TensorRT, and engine is {values['engine']!r}; set "
            "engine to tensorrt, or build_only to false"
        )
    if values["engine_device"] != "CPU" and values["engine"] not in ("auto", "openvino"):
        wrong.append(
            f"engine_device {values['engine_device']!r} is for OpenVINO, and engine is "
            f"{values['engine']!r}; set engine to openvino, or engine_device to CPU"
        )
    return wrong


DEFAULTS = Settings.from_values({spec.name: spec.default for spec in PARAMETERS})
"""The values of a node without given parameters."""
