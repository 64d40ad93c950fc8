# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from segmif_ros.training.precision import Precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("wanted", "device", "bf16", "gpu_has_bf16", "name"),
    [
        ("auto", CPU, True, False, "bf16"),
        ("auto", CPU, False, False, "fp32"),
        ("auto", GPU, True, True, "bf16"),
        ("auto", GPU, True, False, "fp16"),
        ("auto", GPU, False, False, "fp32"),
        ("fp32", GPU, True, True, "fp32"),
        ("fp16", CPU, True, True, "fp16"),
    ],
)
def test_the_recipe_decides_and_the_device_may_object(
    wanted, device, bf16, gpu_has_bf16, name, monkeypatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu_has_bf16)
    assert Precision.choose(wanted, device, bf16=bf16).name == name


def test_matrix_products_follow_and_only_float16_is_scaled() -> None:
    a = torch.ones(4, 4)
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        precision = Precision(name, "cpu")
        with precision.autocast():
            assert (a @ a).dtype == kind
        assert precision.scaler().is_enabled() == (name == "fp16")
