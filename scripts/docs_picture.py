# SPDX-License-Identifier: Apache-2.0
"""Bring a picture below the 100 kB that one in docs/images may have.

python scripts/docs_picture.py demo_out/contact_sheet.png docs/images/demo.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

WIDTH, MOST_BYTES = 1100, 98_000


def main(source: str, target: str) -> None:
    """Scale to `WIDTH` and take the best JPEG that is small enough."""
    picture = cv2.imread(source)
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    picture = cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA)
    for quality in range(90, 10, -2):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
        coded = cv2.imencode(".jpg", picture, [*options, cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1]
        if len(coded) < MOST_BYTES:
            break
    Path(target).write_bytes(coded.tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
