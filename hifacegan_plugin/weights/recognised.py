"""Networks of other authors, which spandrel recognises by their weights.

See https://github.com/chaiNNer-org/spandrel for the supported networks. If ``spandrel_extra_arches`` is installed,
CodeFormer, Restormer and others are supported, too; they have their own licences.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from hifacegan_plugin.weights.files import WeightsError

EXTRA = 'spandrel_extra_arches'
# Networks for images of a fixed size in pixels, which spandrel describes as a minimum.
ONLY_SIDES = {'GFPGAN': 512, 'CodeFormer': 512}


class RecognisedNetwork(nn.Module):
    """A network built by spandrel, with the attributes that a restorer needs.

    Args:
        descriptor: spandrel's ``ImageModelDescriptor``.

    Attributes:
        architecture: name of the architecture, such as ``ESRGAN``.
        num_in_ch: number of input and output channels, 1 for grey images or 3 for RGB.
        scale: ratio of output size to input size.
        smallest_side: minimum side of an input in pixels.
        multiple: sides of inputs are padded to a multiple of this.
        only_side: side in pixels of the square inputs, if no other size is accepted; otherwise None.
        reach: None, because the receptive field is unknown.
        dtypes: supported data types.
    """

    reach = None

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.network: nn.Module = descriptor.model
        self.architecture = str(descriptor.architecture.name)
        self.num_in_ch = int(descriptor.input_channels)
        self.scale = int(descriptor.scale)
        self.only_side = ONLY_SIDES.get(str(descriptor.architecture.id))
        self.smallest_side = self.only_side or max(int(descriptor.size_requirements.minimum), 1)
        self.multiple = int(descriptor.size_requirements.multiple_of)
        halves = {torch.bfloat16: descriptor.supports_bfloat16, torch.float16: descriptor.supports_half}
        self.dtypes = [torch.float32, *(dtype for dtype, supported in halves.items() if supported)]
        self._descriptor = descriptor

    def forward(self, x: Tensor) -> Tensor:
        """Restore images one by one; the result is deterministic.

        Args:
            x: ``(N, num_in_ch, H, W)`` in [0, 1].

        Returns:
            ``(N, num_in_ch, scale * H, scale * W)`` in [0, 1].

        Raises:
            ValueError: see :meth:`check_size`.
        """
        self.check_size(*x.shape[-2:])
        with torch.random.fork_rng([x.device] if x.is_cuda else []):
            restored = []
            for image in torch.split(x, 1):
                torch.manual_seed(0)  # StyleGAN generators add random noise
                restored.append(self._descriptor(image))
        return torch.cat(restored)

    def check_size(self, height: int, width: int) -> None:
        """Check that the network accepts the size of an image.

        Raises:
            ValueError: a side is not :attr:`only_side`.
        """
        if self.only_side and (height, width) != (self.only_side, self.only_side):
            raise ValueError(
                f'{self.architecture} restores aligned faces of {self.only_side}x{self.only_side} pixels, and this '
                f'image has {width}x{height}: align it with hifacegan align, or give --faces to restore.'
            )


def recognise(state_dict: Mapping[str, Tensor]) -> RecognisedNetwork:
    """Build the network that weights belong to, in eval mode on the CPU.

    Args:
        state_dict: as returned by :func:`~hifacegan_plugin.weights.read_weights`.

    Raises:
        WeightsError: spandrel is not installed or does not know the network, the weights do not fit it, or the network
            does not map images to images of the same channels.
    """
    if find_spec('spandrel') is None:
        raise WeightsError(
            'these are not weights of a HiFaceGAN generator. Networks of other authors need spandrel, which is not '
            'installed. Run: pip install "hifacegan-plugin[spandrel]"'
        )
    from spandrel import MAIN_REGISTRY, ImageModelDescriptor, canonicalize_state_dict

    if find_spec(EXTRA) is not None:
        import spandrel_extra_arches

        spandrel_extra_arches.install(ignore_duplicates=True)
    weights = canonicalize_state_dict(dict(state_dict))
    known = (each.architecture for each in MAIN_REGISTRY.architectures('detection') if each.detect(weights))
    architecture = next(known, None)
    if architecture is None:
        raise WeightsError(
            f'these are not weights of a HiFaceGAN generator, nor of a network that spandrel knows.{_advice()}'
        )
    try:
        descriptor = architecture.load(weights)
    except Exception as error:  # loaders of other authors may raise anything
        first_lines = ' '.join(map(str.strip, str(error).splitlines()[:2]))
        raise WeightsError(
            f'these look like weights of {architecture.name}, but do not fit it ({first_lines}). '
            'The file may be damaged or of a variant that spandrel does not know; a newer spandrel may.'
        ) from error
    channels = {descriptor.input_channels, descriptor.output_channels}
    if not isinstance(descriptor, ImageModelDescriptor) or channels not in ({1}, {3}):
        raise WeightsError(
            f'{architecture.name} does not map images to images of the same channels, grey or RGB. '
            'Give a network that restores images.'
        )
    return RecognisedNetwork(descriptor.eval())


def _advice() -> str:
    if find_spec(EXTRA) is not None:
        return ' A newer spandrel may know it.'
    return (
        f' CodeFormer, Restormer, MPRNet, MIRNet-v2 and FeMaSR need: pip install {EXTRA} (mind their licences); '
        'a newer spandrel may know others.'
    )
