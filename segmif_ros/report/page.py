# SPDX-License-Identifier: Apache-2.0
"""Renders the templates: one environment that escapes everything, and pages that need no network.

A topic name, a file name or an error text of a bag can hold anything: whatever is not markup of the
templates or of `svg_plots` is escaped. The pages carry a content security policy that names their
one script and their style by hashes, so nothing that stands in a bag can run or fetch anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segmif_ros.metrics.tally import ROWS
from segmif_ros.report.run_summary import STAGES as RUN_STAGES
from segmif_ros.report.svg_plots import bars, confusion_plot, line_plot, reliability_plot
from segmif_ros.view.page import asset, content_hash

ABSENT = "–"
"""Stands for a number that was not measured."""

STAGES = {"read": "reading and converting", **RUN_STAGES}
"""Stages of a pair as people read them."""


def rendered(template: str, *, script: bool = False, **values: Any) -> Markup:
    """Return a template of this room filled in.

    Args:
        template: its name without suffix.
        script: of a whole page: put in the viewer's script.
        values: what it shows.
    """
    style = asset("viewer.css") + asset("report.css")
    code = asset("viewer.js") if script else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src {content_hash(style)}; script-src "
        + (content_hash(code) if script else "'none'")
        + "; base-uri 'none'; form-action 'none'"
    )
    own = {"style": Markup(style), "script": Markup(code)}  # noqa: S704 - files of the package
    page = _environment().get_template(f"{template}.html")
    return Markup(page.render(values, **own, policy=policy))  # noqa: S704 - escaped there


def number(value: object, digits: int = 3) -> str:
    """Return a number for people; None is a number that was not measured."""
    if value is None:
        return ABSENT
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    return f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as percent."""
    return ABSENT if value is None else f"{100 * value:.{digits}f} %"


def first_seen(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return all keys in the order of their first appearance."""
    return list(dict.fromkeys(str(key) for mapping in mappings for key in mapping))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("segmif_ros.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "percent": percent,
        "ms": lambda value: ABSENT if value is None else f"{value:.1f} ms",
        "signed": lambda value: f"{value:+.4f}",
        "flat": lambda values: list(_flat(values)),
    }
    made.globals |= {
        "ABSENT": ABSENT,
        "ROWS": (ROWS[-1], *ROWS[:-1]),
        "STAGES": STAGES,
        "meanings": MEANINGS,
        "first_seen": first_seen,
        "bars": bars,
        "line_plot": line_plot,
        "confusion_plot": confusion_plot,
        "reliability_plot": reliability_plot,
    }
    return made


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a mapping, nested or not, as rows of name and value."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(_plain(entry) for entry in value) or ABSENT
        else:
            yield name, _plain(value)


def _plain(value: object) -> str:
    if value is None or value == "":
        return ABSENT
    return f"{value:.6g}" if isinstance(value, float) else str(value)


MEANINGS: dict[str, tuple[str, str]] = {
    "pairs": (
        "pairs",
        "Two frames, one of each camera, whose stamps lie within the tolerance after the offsets. "
        "Received counts frames, paired counts pairs, evaluated counts pairs that went through the "
        "network.",
    ),
    "dropped": (
        "dropped",
        "Frames that ended in no pair, by reason. Surplus is normal when one camera is faster.",
    ),
    "difference": (
        "time difference",
        "Thermal minus RGB stamp of a pair, after the offsets, in ms. Percentiles are of its size. "
        "At 10 m/s a car moves 1 cm per ms.",
    ),
    "alignment": (
        "alignment",
        "How far thermal edges lie from visible ones, in pixels of the RGB image, measured every "
        "few seconds. A lasting shift means that a camera has moved: calibrate again.",
    ),
    "engine": (
        "engine time",
        "Milliseconds that the network takes for one pair on this machine. p50 is the median; "
        "1 % of the pairs take longer than p99.",
    ),
    "latency": (
        "latency",
        "From the camera's stamp to the arrival of the result at a subscriber. Only a run with "
        "--live has it; an offline run does not measure DDS.",
    ),
    "miou": (
        "mIoU",
        "Per class: correct pixels divided by the pixels that either truth or network gives to the "
        "class. Then the mean over the classes that the protocol counts. Computed over all pixels "
        "of all labelled pairs together, not as a mean over pairs. 1 is perfect.",
    ),
    "protocol": (
        "protocol",
        "Which classes count, which are merged, and which pixels are left out. Compare mIoU only "
        "within one protocol.",
    ),
    "iou": ("IoU", "mIoU of one class alone."),
    "pixel_accuracy": (
        "pixel accuracy",
        "Share of labelled pixels with the right class. Large classes such as road decide it.",
    ),
    "boundary_iou": (
        "boundary IoU",
        "IoU counted only near the borders of objects, where segmentation is hardest.",
    ),
    "rows": (
        "visible, thermal, fused",
        "In the segmentation tables: the same network with both cameras (fused), or with the other "
        "camera blanked. In the fusion tables: the metric of the image itself.",
    ),
    "day_night": (
        "day, night",
        "Pairs are sorted by the brightness of the visible picture, unless the light was given.",
    ),
    "confusion": (
        "confusion matrix",
        "Rows are true classes, columns predicted ones, in percent of the true pixels. What is "
        "not on the diagonal is a confusion.",
    ),
    "EN": ("EN", "Entropy of grey levels, bits. More means more varied, also more noise."),
    "SD": ("SD", "Standard deviation of luma: contrast."),
    "SF": ("SF", "Spatial frequency: how much neighbouring pixels differ."),
    "AG": ("AG", "Average gradient: sharpness, also noise."),
    "MI": ("MI", "Mutual information with both cameras, bits, summed."),
    "SCD": ("SCD", "How well what each camera added to the fused image correlates with it."),
    "VIF": ("VIF", "Visual information that is kept from both cameras."),
    "Qabf": ("Qabf", "Share of edges that is carried over from both cameras, 0 to 1."),
    "SSIM": ("SSIM", "Structural similarity with both cameras, averaged."),
    "flicker": (
        "flicker",
        "How much brightness changes from frame to frame where the scene does not. Compare the "
        "fused row with the cameras' own rows; lower is steadier.",
    ),
    "same_mask_alone": (
        "pixels of the same class",
        "Share of pixels that keep their class when the network has only one camera. A camera "
        "that hardly changes the mask contributes little to it on this drive.",
    ),
    "confidence": (
        "confidence",
        "Probability of the winning class, mean over the picture. It is the network's own opinion, "
        "not a measure of truth.",
    ),
    "box_recall": (
        "box recall",
        "Share of the manually drawn boxes whose class covers a fifth of their area or more.",
    ),
    "box_precision": (
        "box precision",
        "Share of the pixels of a class that lie in a box of that class.",
    ),
    "average_precision": (
        "average precision",
        "Area below precision over recall as the least score is lowered; an object is right when "
        "it overlaps a free box of its class by an IoU of 0.5 or more. A dash: the class has no "
        "objects, only surface.",
    ),
    "calibration": (
        "expected calibration error",
        "Pixels of a class are sorted by confidence into 15 bins. In each, the share that is right "
        "is compared with the mean confidence; the gaps are averaged. 0 means that a confidence of "
        "0.8 is right in 80 % of the pixels.",
    ),
    "mask_flicker": (
        "pixels that change their class for one frame",
        "Share of the mask's pixels with another class than in the frame before and the same one "
        "again in the frame after.",
    ),
    "worst": (
        "worst and best",
        "Pairs with the lowest and the highest mIoU; without labels, with the lowest and highest "
        "mean confidence. Neighbouring frames are left out.",
    ),
}
