"""Prepare the images of a batch for a network on a device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from hifacegan_plugin.images.channels import with_channels


def prepare_batch(
    data: Mapping[str, Any], names: Iterable[str], device: torch.device, channels: int | None
) -> dict[str, Tensor]:
    """Move the images of a batch to a device, scale bytes to [0, 1], and convert between grey and RGB.

    Args:
        data: the batch; its images are ``(N, C, H, W)``, float in [0, 1] or uint8.
        names: names of the images to prepare; names that the batch lacks are ignored.
        device: target device; the copy from pinned memory does not wait for it.
        channels: number of channels that the network takes, 1 or 3; None: keep the channels.

    Returns:
        The images by the same names, float ``(N, channels, H, W)`` in [0, 1].
    """
    return {name: _prepare(data[name], device, channels) for name in names if name in data}


def _prepare(images: Tensor, device: torch.device, channels: int | None) -> Tensor:
    images = images.to(device, non_blocking=True)
    if images.is_cuda:  # the host's prefetcher copies in a stream of its own, which may not reuse the memory yet
        images.record_stream(torch.cuda.current_stream())
    return with_channels(_in_unit_range(images), channels)


def _in_unit_range(images: Tensor) -> Tensor:
    """Scale uint8 images, which are a quarter of the traffic to the device, to float values in [0, 1]."""
    if images.dtype != torch.uint8:
        return images
    # Divide by a tensor: for a number, GPUs multiply by its reciprocal, which rounds differently from the data set.
    return images.float().div_(torch.full((), 255.0, device=images.device))
