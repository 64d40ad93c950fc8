# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from segmif_ros.training.ranks import Ranks, SharedBatchNorm, joined, share_batch_norms

SCRIPT = Path(__file__).parents[1] / "helpers" / "tiny_training.py"
STEPS = "4"


def run(command: list[str], out: Path) -> list[dict[str, float]]:
    alone = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    alone.update(OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo", CUDA_VISIBLE_DEVICES="")
    done = subprocess.run(
        [sys.executable, *command, str(SCRIPT), str(out), STEPS],
        env=alone, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="PyTorch without distributed")
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """Gradients, BatchNorm and divisors are shared; Adam blows up what rounding leaves."""
    one = run([], tmp_path / "one")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = run(launcher, tmp_path / "two")
    for name in ("fusion", "segmentation"):
        alone, together = ([row[name] for row in rows] for rows in (one, two))
        assert len(alone) == int(STEPS)
        np.testing.assert_allclose(together[:2], alone[:2], rtol=1e-5)
        np.testing.assert_allclose(together, alone, rtol=2e-3)
    stored = [
        torch.load(tmp_path / out / "checkpoint.pt", weights_only=True) for out in ("one", "two")
    ]
    assert len(stored[1]["rng"]["cpu"]) == 2
    alone, together = (
        torch.cat([value.flatten().float() for value in state["network"].values()])
        for state in stored
    )
    assert float((together - alone).norm() / alone.norm()) < 1e-3


def test_alone_nothing_is_wrapped_or_changed() -> None:
    with joined("cpu") as ranks:
        assert (ranks.rank, ranks.count, ranks.device.type) == (0, 1, "cpu")
        network = nn.Sequential(nn.BatchNorm2d(4))
        share_batch_norms(network, ranks)
        assert type(network[0]) is nn.BatchNorm2d
        assert ranks.share(network) is network


def test_each_process_has_its_part_of_a_batch() -> None:
    parts = [Ranks(rank, 4, torch.device("cpu")).part(8) for rank in range(4)]
    assert [list(range(8))[part] for part in parts] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(ValueError, match="batch of 6 does not divide among 4"):
        Ranks(0, 4, torch.device("cpu")).part(6)
    # A share of one example cannot be taken in two parts: half a step would be learnt, unshared.
    with pytest.raises(ValueError, match=r"batch of 8 .* 8 processes, which take 2 parts each"):
        Ranks(0, 8, torch.device("cpu")).part(8, accumulate=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="finds no NVIDIA GPU"), joined("cuda"):
        pass


def test_a_shared_batch_norm_is_an_ordinary_one_in_eval() -> None:
    features = torch.randn(2, 3, 8, 8)
    plain, shared = nn.BatchNorm2d(3).eval(), SharedBatchNorm(3).eval()
    assert torch.equal(plain(features), shared(features))
