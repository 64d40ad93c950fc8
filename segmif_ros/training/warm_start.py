# SPDX-License-Identifier: Apache-2.0
"""Starts a training from trained weights: of a bundle, or of a narrower shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from segmif_ros.network.compact_encoder import ConvNorm
from segmif_ros.training.batches import Batch

_TRAINED_SIZE = 3.0
"""Filters after a training, as a multiple of what PyTorch begins with (measured on convolutions
without a norm)."""


def grow(network: nn.Module, smaller: Mapping[str, Tensor]) -> list[str]:
    """Fill a network with the weights of a narrower one of its kind, so that it computes the same.

    A weight takes the corner that the narrower one fills. What reads a new channel into an old one
    starts at zero; what makes new channels stays as the network came.

    Args:
        network: to be filled.
        smaller: weights by the names of `network`.

    Returns:
        Names that were grown or that the narrower network has not.

    Raises:
        ValueError: a weight is larger than the network's.
    """
    state, changed = network.state_dict(), []
    for name, fresh in state.items():
        old = smaller.get(name)
        if old is None:
            changed.append(name)
        elif old.shape == fresh.shape:
            state[name] = old
        elif old.ndim == fresh.ndim and all(
            a <= b for a, b in zip(old.shape, fresh.shape, strict=True)
        ):
            grown = fresh.clone()
            if fresh.ndim > 1:
                grown[: old.shape[0]] = 0.0
            grown[tuple(slice(size) for size in old.shape)] = old
            state[name] = grown
            changed.append(name)
        else:
            raise ValueError(
                f"{name} is {list(old.shape)}, the network has {list(fresh.shape)}; a network can "
                "begin with the weights of a narrower one only"
            )
    network.load_state_dict(state)
    return changed


def settle_norms(network: nn.Module, batches: Iterable[Batch]) -> None:
    """Give every BatchNorm the statistics of real batches without changing what it computes.

    Weights of a bundle come back with BatchNorms that do nothing; trained like that, the first
    batch's statistics would change every map.
    """
    norms = {n: m for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    sums = {name: torch.zeros(3, norm.num_features) for name, norm in norms.items()}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach().float().transpose(0, 1).flatten(1)
            sums[name] += torch.stack(
                [x.sum(1), (x * x).sum(1), torch.full_like(x[:, 0], x.shape[1])]
            ).cpu()

        return norms[name].register_forward_pre_hook(see)

    hooks = [watch(name) for name in norms]
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        for rgb, thermal, *_ in batches:
            network(rgb.to(device), thermal.to(device))
        for hook in hooks:
            hook.remove()
        for name, norm in norms.items():
            total, square, count = sums[name].to(device)
            mean = total / count
            var = (square / count - mean**2).clamp(min=0.0)
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            norm.bias += gain * (mean - norm.running_mean)
            norm.weight.copy_(gain * torch.sqrt(var + norm.eps))
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
        for pair in network.modules():
            if isinstance(pair, ConvNorm):
                _rescale(*pair)
    network.train(training)


def _rescale(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Bring each filter to the size that training gives it; the norm behind it divides by it again.

    Folding has multiplied filters by the norm's gain over its deviation. An optimiser whose steps
    do not depend on the size of a weight, as AdamW, overwrites small ones within a few steps.
    """
    weight = convolution.weight
    size = weight.square().mean(dim=(1, 2, 3)).sqrt().clamp(min=1e-8)
    scale = _TRAINED_SIZE * (3.0 * weight[0].numel()) ** -0.5 / size
    weight *= scale[:, None, None, None]
    before = torch.sqrt(norm.running_var + norm.eps)
    norm.running_mean *= scale
    norm.running_var *= scale.square()
    norm.weight *= torch.sqrt(norm.running_var + norm.eps) / (scale * before)
