# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def tiny_variants() -> Iterator[None]:
    """Miniature networks by name; two threads at most, as many as a small machine has."""
    torch = pytest.importorskip("torch")
    import tiny_training

    from segmif_ros.network.variants import VARIANTS

    before, threads = dict(VARIANTS), torch.get_num_threads()
    tiny_training.add_variants()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    VARIANTS.clear()
    VARIANTS.update(before)
