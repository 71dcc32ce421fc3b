"""Convert images between grey and RGB, as a network needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


def channels_of(network: Mapping[str, Any]) -> int | None:
    """Return the number of channels that a network takes, from its options with ``type``; None if unknown."""
    return network.get('num_in_ch', 3 if network['type'] == 'CSRGenerator' else None)


def with_channels(images: Tensor, channels: int | None) -> Tensor:
    """Convert RGB to its luma, or grey to RGB with three equal channels, if the network needs it.

    Args:
        images: float ``(N, 1 or 3, H, W)``.
        channels: 1 or 3; with another number, or None, the images are not changed.
    """
    if (images.shape[1], channels) == (3, 1):
        return (images * images.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    if (images.shape[1], channels) == (1, 3):
        return images.repeat(1, 3, 1, 1)
    return images
