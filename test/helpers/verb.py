# SPDX-License-Identifier: Apache-2.0
"""One verb of `segmif` as a function of its words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segmif_ros.cli.main import main


def verb(name: str) -> Callable[[Sequence[str]], int]:
    return lambda words: main([name, *words])
