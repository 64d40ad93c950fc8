# SPDX-License-Identifier: Apache-2.0
"""Arrays to `sensor_msgs/Image` and `sensor_msgs/CompressedImage`."""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from segmif_ros.frames import Image8
from segmif_ros.images.raw import ENCODINGS


def to_message(array: NDArray[Any], encoding: str, header: Any) -> Image:
    """Fill a new message.

    Args:
        array: HxW or HxWxC of the encoding's type, C-contiguous, in native byte order.
        encoding: one of `images.raw.ENCODINGS` in one plane.
        header: std_msgs/Header, used as it is.

    Raises:
        ValueError: the array does not fit the encoding.
    """
    wanted, channels = np.dtype(ENCODINGS[encoding].kind), ENCODINGS[encoding].channels
    found = 1 if array.ndim == 2 else array.shape[-1]
    if array.dtype != wanted or found != channels or not array.flags.c_contiguous:
        raise ValueError(
            f"array of shape {array.shape} and type {array.dtype} for encoding {encoding!r}, "
            f"expected contiguous {wanted} with {channels} channel(s)"
        )
    message = Image(header=header, encoding=encoding)
    message.height, message.width = array.shape[:2]
    message.step = array.strides[0]
    message.is_bigendian = int(sys.byteorder == "big")
    message.data.frombytes(array.reshape(-1).view(np.uint8).data)
    return message


def to_jpeg(rgb: Image8, quality: int, header: Any) -> CompressedImage:
    """Fill a new compressed message, with the format string of image_transport.

    Args:
        rgb: HxWx3 uint8 RGB.
        quality: 1 to 100.
        header: std_msgs/Header, used as it is.
    """
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    message.data.frombytes(jpeg.data)
    return message
