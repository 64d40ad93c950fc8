# SPDX-License-Identifier: Apache-2.0
"""Class ids that the rig draws with: FMB's, as in config/labels/fmb15.yaml."""

from enum import IntEnum


class Label(IntEnum):
    """FMB class ids."""

    UNLABELLED = 0
    ROAD = 1
    SIDEWALK = 2
    BUILDING = 3
    TRAFFIC_LIGHT = 4
    TRAFFIC_SIGN = 5
    VEGETATION = 6
    SKY = 7
    PERSON = 8
    CAR = 9
    TRUCK = 10
    BUS = 11
    MOTORCYCLE = 12
    BICYCLE = 13
    POLE = 14
