# SPDX-License-Identifier: Apache-2.0
"""What each number of a report means, in words: tooltips and a glossary at the page's end."""

from __future__ import annotations

from segmif_ros.report.markup import Markup, element

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
        "--live has it; an offline run says nothing about DDS.",
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
        "Rows are the truth, columns what the network said, percent of the true pixels. What is "
        "not on the diagonal is taken for something else.",
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
        "Share of pixels that keep their class when the network sees only one camera. A camera "
        "that hardly changes the mask contributes little to it on this drive.",
    ),
    "confidence": (
        "confidence",
        "Probability of the winning class, mean over the picture. It is the network's own opinion, "
        "not a measure of truth.",
    ),
    "worst": (
        "worst and best",
        "Pairs with the lowest and the highest mIoU; without labels, with the lowest and highest "
        "mean confidence. Neighbouring frames are left out.",
    ),
}


def meaning(key: str, text: str = "") -> Markup:
    """Return a word of the report as a link to its meaning, which a mouse shows at once."""
    name, told = MEANINGS[key]
    return element("a", text or name, href=f"#about-{key}", title=told)


def glossary() -> Markup:
    """Return all meanings as a list."""
    entries: list[Markup] = []
    for key, (name, told) in MEANINGS.items():
        entries += [element("dt", name, id=f"about-{key}"), element("dd", told)]
    return element("dl", *entries, class_="meanings")
