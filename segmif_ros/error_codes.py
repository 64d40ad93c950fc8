# SPDX-License-Identifier: Apache-2.0
"""What messages share: codes to search for, how others' text is quoted, how often they come.

docs/troubleshooting.md has the cause and remedy of each code.
"""

from __future__ import annotations

from collections.abc import Mapping

FILES, PACKAGE, VALUE, USAGE = "SEG-E001", "SEG-E002", "SEG-E003", "SEG-E004"
UNEXPECTED, PARAMETER = "SEG-E009", "SEG-E601"
NO_SUBSCRIBER, NOTHING_CAME = "SEG-E603", "SEG-E604"

CODES: Mapping[str, str] = {
    # Command line, files
    "ModuleNotFoundError": PACKAGE,
    "OSError": FILES,
    "MemoryError": "SEG-E007",
    "UsageError": USAGE,
    "OutputError": "SEG-E005",
    "DocumentError": "SEG-E006",
    # Models and engines
    "BundleError": "SEG-E101",
    "EngineError": "SEG-E102",
    "RefusedError": "SEG-E103",
    "PlanError": "SEG-E104",
    "CacheError": "SEG-E105",
    "GateError": "SEG-E106",
    "DriverError": "SEG-E107",
    "SchedulingError": "SEG-E108",
    # Images and geometry
    "ImageRefused": "SEG-E201",
    "CloudRefused": "SEG-E202",
    "PictureError": "SEG-E203",
    "ThermalError": "SEG-E204",
    "RegistrationError": "SEG-E205",
    "CalibrationError": "SEG-E206",
    # Recordings
    "BagError": "SEG-E301",
    "ClipError": "SEG-E302",
    "VideoError": "SEG-E303",
    "ViewError": "SEG-E304",
    # Data sets, training, export
    "DatasetError": "SEG-E401",
    "ProtocolError": "SEG-E402",
    "RecipeError": "SEG-E403",
    "TrainingError": "SEG-E404",
    "CheckpointError": "SEG-E405",
    "EncoderError": "SEG-E406",
    "WeightsFileError": "SEG-E407",
    "BundleWeightsError": "SEG-E408",
    "ExportError": "SEG-E409",
    "PrecisionError": "SEG-E410",
    # Evaluation and reports
    "SettingsError": "SEG-E501",
    "DriveError": "SEG-E502",
    "LabelError": "SEG-E503",
    "ScoreError": "SEG-E504",
    "ReportError": "SEG-E505",
    "RequirementError": "SEG-E506",
    # The node and ROS
    "ParameterError": PARAMETER,
    "RosError": "SEG-E602",
    "GivenUpError": "SEG-E605",
    "DemoSessionError": "SEG-E606",
}
"""Name of an error class -> code; its subclasses without one of their own have the same."""


def code_of(err: BaseException) -> str:
    """Return the code of an error: of its class, or of the nearest base class that has one."""
    for kind in type(err).__mro__:
        if kind.__name__ in CODES:
            return CODES[kind.__name__]
    return VALUE if isinstance(err, ValueError) else UNEXPECTED


def brief(text: str, most: int = 60) -> str:
    """Return text that others wrote as a message quotes it: one line, printable, not long.

    Args:
        text: for example an encoding or frame_id; whatever a publisher put there.
        most: characters; what is longer is cut, and its length said.
    """
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:most])
    return plain if len(text) <= most else f"{plain}... ({len(text)} characters)"


class LogThrottle:
    """Lets one line through, then none for a while. The log's own throttle costs 0.16 ms a call."""

    def __init__(self, every_s: float = 10.0) -> None:
        self._every_ns = round(every_s * 1e9)
        self._last_ns: int | None = None

    def ready(self, now_ns: int) -> bool:
        """Return whether to log now, and count it as logged if so.

        Args:
            now_ns: steady time.
        """
        if self._last_ns is not None and now_ns - self._last_ns < self._every_ns:
            return False
        self._last_ns = now_ns
        return True
