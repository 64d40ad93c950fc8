# SPDX-License-Identifier: Apache-2.0
"""The open model for an evaluation, and its scoring protocols."""

from __future__ import annotations

from segmif_ros.bundle import Bundle
from segmif_ros.datasets.classes import list_with
from segmif_ros.datasets.protocol import Protocol, load_protocol
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import Engine, EngineOptions
from segmif_ros.evaluation.scores import DriveScores
from segmif_ros.evaluation.settings import DriveSettings
from segmif_ros.perceiver import Perceiver
from segmif_ros.registration import Geometry, Registration
from segmif_ros.registration.calibration import Mounting
from segmif_ros.registration.calibration_file import load_calibration, load_mounting
from segmif_ros.thermal import ThermalNormaliser, ThermalSettings


class EvaluationContext:
    """An open model, used for several bags on one thread."""

    def __init__(self, settings: DriveSettings) -> None:
        """Open bundle and engine.

        Raises:
            BundleError, EngineError, RegistrationError, OSError: it cannot be used.
            ValueError: no such protocol, or it does not fit the model's classes.
        """
        self.settings = settings
        self.bundle = Bundle.load(settings.model)
        self.protocols = chosen_protocols(settings, self.bundle)
        self.calibration: Geometry | None = None
        self.mounting = Mounting()
        if settings.calibration:
            self.calibration = load_calibration(settings.calibration)
            self.mounting = load_mounting(settings.calibration)
        self.registration = Registration(self.calibration)
        DriveScores(settings, self.bundle.manifest.classes, self.protocols)
        self.notes: list[str] = []
        self.engine: Engine = open_engine(
            settings.engine,
            self.bundle,
            options=EngineOptions(
                settings.engine_threads, settings.engine_precision, settings.engine_device
            ),
            on_warning=self.notes.append,
        )

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()

    def describe(self) -> dict[str, str]:
        """Return the engine."""
        return {"name": self.engine.name, **self.engine.describe()}

    def perceivers(self) -> tuple[Perceiver, Perceiver]:
        """Return a perceiver for pairs, and one for single cameras with registered images."""
        threshold = self.settings.confidence_threshold
        pairs = Perceiver(
            self.engine,
            ThermalNormaliser(self.settings.thermal),
            self.registration,
            confidence_threshold=threshold,
        )
        as_it_is = ThermalNormaliser(ThermalSettings(mode="passthrough"))
        return pairs, Perceiver(self.engine, as_it_is, confidence_threshold=threshold)


def chosen_protocols(settings: DriveSettings, bundle: Bundle) -> tuple[Protocol, ...]:
    """Return the requested protocols, else those of the model's classes.

    Raises:
        ValueError: no such protocol, or no shipped class list is the model's.
    """
    if not (settings.labels or settings.label_topic):
        return ()
    if settings.protocol:
        return tuple(load_protocol(name.strip()) for name in settings.protocol.split(","))
    found = list_with(bundle.manifest.classes)
    if found is None:
        raise ValueError(
            f"the classes of model {bundle.manifest.name!r} are no list under config/labels; "
            "name a protocol with --protocol"
        )
    return tuple(load_protocol(name) for name in found.protocols) or (load_protocol(found.name),)
