# SPDX-License-Identifier: Apache-2.0
"""Which pairs of a drive a recipe keeps from training."""

_BLOCK = 8


def held_out(count: int, every: int) -> list[int]:
    """Return the places that a recipe keeps from training.

    Neighbouring pairs of a drive are nearly the same picture, so whole blocks are kept.

    Args:
        count: pairs in the order of the drive.
        every: of the blocks of 8, each n-th is kept; 0 keeps none.
    """
    return [i for i in range(count) if every and (i // _BLOCK) % every == every - 1]
