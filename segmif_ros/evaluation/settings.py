# SPDX-License-Identifier: Apache-2.0
"""Settings of an evaluation: all inputs of a result besides the bag."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, get_args

from segmif_ros.pairing import PairingConfig
from segmif_ros.parameters import SPECS, ParameterError, part
from segmif_ros.thermal import ThermalSettings

Rows = Literal["auto", "fused", "all"]
ROWS: tuple[Rows, ...] = get_args(Rows)
Light = Literal["auto", "day", "night"]
LIGHTS: tuple[Light, ...] = get_args(Light)

METRICS_EVERY = 100
"""Interval of fusion measurements, pairs: long enough that the engine is the bottleneck."""
LEAST_MEASURED = 20
"""Least number of pairs with fusion measurements, if a drive has enough."""

ALIGNMENT_EVERY_S = 2.0
"""Interval of alignment measurements, seconds of the drive; each takes 25 ms."""

WORST, BEST, SAMPLES = 5, 3, 4
"""Pairs kept as pictures."""


class SettingsError(ValueError):
    """A setting cannot be used; the message names it and what was expected."""


@dataclass(frozen=True, slots=True)
class DriveSettings:
    """All inputs of a result besides the bag; equal settings give equal results.

    Attributes:
        model: folder of the bundle.
        engine: name of the engine.
        engine_threads: CPU threads of the engine, 0 for all.
        engine_precision: as in the node.
        engine_device: as in the node.
        rgb_topic: topic of the RGB camera, chosen by name if None.
        thermal_topic: topic of the thermal camera, likewise.
        label_topic: topic of label images, None without.
        labels: folder of label pictures, None without.
        boxes: folder of box files, None without.
        box_classes: names of the model's classes in the order of the ids in box files; empty if
            these ids are the model's.
        protocol: names of scoring protocols with commas; None takes those of the model's classes.
        pairing: as in the node.
        thermal: as in the node.
        calibration: file with the thermal to RGB geometry, None if the images are registered.
        confidence_threshold: as in the node.
        rows: which inputs the network is run with: "fused" both, "all" also either camera alone,
            "auto" all where there are labels.
        light: "auto" classifies every pair by the brightness of the visible picture.
        metrics_every: interval of fusion measurements, pairs.
        limit: evaluate at most so many pairs of each bag, None for all.
        write_bag: where to write the results as a bag, None for nowhere.
        bag_inputs: put the camera images into that bag as well.
        points_topic: clouds or depth images that are labelled there, the only such topic if None.
        points_tolerance_ms: as in the node.
    """

    model: str
    engine: str = "auto"
    engine_threads: int = 0
    engine_precision: str = "auto"
    engine_device: str = "CPU"
    rgb_topic: str | None = None
    thermal_topic: str | None = None
    label_topic: str | None = None
    labels: str | None = None
    boxes: str | None = None
    box_classes: tuple[str, ...] = ()
    protocol: str | None = None
    pairing: PairingConfig = field(default_factory=PairingConfig)
    thermal: ThermalSettings = field(default_factory=ThermalSettings)
    calibration: str | None = None
    confidence_threshold: float = 0.0
    rows: Rows = "auto"
    light: Light = "auto"
    metrics_every: int = METRICS_EVERY
    limit: int | None = None
    write_bag: str | None = None
    bag_inputs: bool = True
    points_topic: str | None = None
    points_tolerance_ms: float = float(SPECS["points_tolerance_ms"].default)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: with the value and what was expected.
        """
        if self.metrics_every < 1:
            raise SettingsError(f"metrics_every is {self.metrics_every}, expected 1 or more")
        if self.limit is not None and self.limit < 1:
            raise SettingsError(f"limit is {self.limit}, expected 1 or more")
        if not 0.0 <= self.confidence_threshold <= 1.0:
            raise SettingsError(
                f"confidence_threshold is {self.confidence_threshold}, expected 0 to 1"
            )
        if self.labels and self.label_topic:
            raise SettingsError("labels from a topic and from a folder; give one of the two")
        if self.points_topic and not self.write_bag:
            raise SettingsError(
                f"points_topic is {self.points_topic!r} without write_bag, where labelled points go"
            )

    @property
    def has_labels(self) -> bool:
        """Whether there is ground truth."""
        return bool(self.labels or self.label_topic or self.boxes)

    @property
    def scores_cameras_alone(self) -> bool:
        """Whether the network also runs with either camera blanked."""
        return self.rows == "all" or (self.rows == "auto" and self.has_labels)

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a report."""
        return asdict(self)

    def digest(self, model_sha256: str) -> str:
        """Return a key of these settings with one model, to find results that can be reused.

        Args:
            model_sha256: digest of the bundle's ONNX file.
        """
        told = json.dumps({**self.to_json(), "sha256": model_sha256}, sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


_CALIBRATION = "calibration_file"
_WHOLE = (
    *("model", "engine", "engine_threads", "engine_precision", "engine_device", _CALIBRATION),
    *("confidence_threshold", "points_tolerance_ms"),
)
PARAMETERS = frozenset(
    name
    for name, spec in SPECS.items()
    if name in _WHOLE or spec.place[0] in ("pairing", "thermal")
)
"""The node's parameters that an evaluation follows."""


def with_parameters(values: Mapping[str, Any], **others: Any) -> DriveSettings:
    """Return settings of which some are given as the node's parameters.

    Args:
        values: parameter name -> value; missing ones have the node's default.
        others: all other settings, with model and calibration.

    Raises:
        SettingsError: a value that the node would refuse as well.
    """
    own = [name for name in _WHOLE if name in values and name not in ("model", _CALIBRATION)]
    whole: dict[str, Any] = {name: type(SPECS[name].default)(values[name]) for name in own}
    try:
        parts = {name: part(name, values) for name in ("pairing", "thermal")}
    except ParameterError as err:
        raise SettingsError(str(err)) from err
    return DriveSettings(**whole, **parts, **others)


def node_parameters_of(settings: DriveSettings) -> dict[str, Any]:
    """Return the node's parameters for these settings."""
    found: dict[str, Any] = {
        name: getattr(settings, name) for name in _WHOLE if name != _CALIBRATION
    }
    for name, spec in SPECS.items():
        where, field = spec.place
        if where in ("pairing", "thermal"):
            found[name] = spec.parameter_value(getattr(getattr(settings, where), field))
    if settings.calibration:
        found[_CALIBRATION] = settings.calibration
    return found


NODE = "/segmif"
"""Default full name of the node."""

_OF_ROS = ("use_sim_time", "start_type_description_service", "qos_overrides.")
"""Names, or beginnings of names, that every node of rclpy has."""


def node_parameters(content: Any, node: str = NODE) -> dict[str, Any]:
    """Return the parameters of a node from a parameter file, by the rules of ROS.

    A section applies if its name, joined from nested keys, matches the node's full name; "*"
    stands for one part of it and "**" for any number. Of sections that match, later ones win.
    Parameters without effect on an evaluation are left out.

    Args:
        content: parsed YAML.
        node: full name, with its namespace.

    Raises:
        SettingsError: no parameter file, no section for this node, or a parameter that the node
            does not have, or would refuse.
    """
    sections = list(_sections(content, ""))
    found: dict[str, Any] = {}
    matching = [parameters for name, parameters in sections if _matches(name, node)]
    if not matching:
        raise SettingsError(
            f"no section is for node {node}, only for {', '.join(name for name, _ in sections)}; "
            "ROS would ignore them all: name the section after the node or /**, or the node with "
            "--node"
        )
    for parameters in matching:
        found |= dict(_flat(parameters))
    for name, value in found.items():
        if name.startswith(_OF_ROS):
            continue
        if name not in SPECS:
            near = get_close_matches(name, SPECS, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"the node has no parameter {name!r}{meant}")
        problem = SPECS[name].check(value)
        if problem is not None:
            raise SettingsError(problem)
    return {name: value for name, value in found.items() if name in PARAMETERS}


def _sections(content: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the full name and the parameters of every section, in the order of the file."""
    if not isinstance(content, Mapping) or not content:
        raise SettingsError(
            f"{name or 'the file'} has no ros__parameters; give a parameter file such as "
            "config/segmif.yaml"
        )
    for key, inside in content.items():
        if key == "ros__parameters":
            if not isinstance(inside, Mapping):
                raise SettingsError(f"ros__parameters of {name or '/'} is {inside!r}, no mapping")
            yield name or "/", inside
            continue
        parts = [part for part in str(key).split("/") if part]
        odd = next((part for part in parts if "*" in part and part not in ("*", "**")), None)
        if odd is not None:
            raise SettingsError(
                f"{key!r}: ROS takes * and ** as whole parts of a name, not {odd!r}"
            )
        yield from _sections(inside, f"{name}/{'/'.join(parts)}")


def _matches(section: str, node: str) -> bool:
    pattern = re.escape(section).replace(r"/\*\*", r"(/\w+)*").replace(r"/\*", r"/\w+")
    return re.fullmatch(pattern, node) is not None


def _flat(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested parameters with dotted names."""
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
