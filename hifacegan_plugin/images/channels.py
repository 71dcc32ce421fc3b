"""Grey and RGB: images in the channels that a network takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


def channels_of(network: Mapping[str, Any]) -> int | None:
    """Return how many channels a network takes, by its options with ``type``; None where they do not say."""
    return network.get('num_in_ch', 3 if network['type'] == 'CSRGenerator' else None)


def with_channels(images: Tensor, channels: int | None) -> Tensor:
    """Turn RGB into grey by its luma, or grey into RGB of three equal channels, where a network wants the other.

    Args:
        images: float ``(N, 1 or 3, H, W)``.
        channels: 1 or 3; any other number, or None: the images stay as they are.
    """
    if (images.shape[1], channels) == (3, 1):
        return (images * images.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    if (images.shape[1], channels) == (1, 3):
        return images.repeat(1, 3, 1, 1)
    return images
