"""Images in, images out: any size, grey or colour, with or without alpha, 8 or 16 bits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from hifacegan_plugin.images.channels import LUMA
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.opening import MAX_PIXELS
from hifacegan_plugin.images.photograph_files import check_pixels, read_photograph
from hifacegan_plugin.images.resizing import resize
from hifacegan_plugin.restore.colour import keep_low_frequencies
from hifacegan_plugin.restore.engines.fitting import FittingEngine
from hifacegan_plugin.weights import PACKAGED, Network, load_network


class Restorer:
    """Restores images with the weights of a file: ``Restorer('net_g.pth')(image)``, in any number of threads at a time.

    Args:
        weights: ``general`` or ``faces``, the networks that come with the package (``hifacegan models``); a file that
            :func:`hifacegan_plugin.weights.load_network` reads, of this plugin or of another author; or a network.
        engine: ``torch``, ``compiled``, ``onnx``, ``openvino``, or ``auto``: see
            :func:`~hifacegan_plugin.restore.engines.starting.choose_engine`.
        dtype: ``float32``, ``bfloat16`` or (not on a CPU) ``float16``.
        memory: bytes that an image may take while it is restored, besides the program and its weights. Default: 3 GiB;
            on an accelerator, 85 % of what is free there when the image comes. Images that would take more are restored
            by torch from less memory, with the same result; those that still do not fit, in overlapping tiles, with a
            warning, because tiles are normalised apart. The fast network normalises nothing: it works in tiles at
            once, with the same result. Two float32 copies of the image, and a tile of the least size, are taken in any
            case. A device that runs out of memory all the same is given less to do at a time, and at last the CPU does
            the work, in float32, each with a warning.
        device: ``cpu``; ``cuda``, ``cuda:1`` ..., ``xpu`` (Intel), ``mps`` (Apple), by name or as a ``torch.device``;
            ``auto``: the first accelerator that works here, else the CPU. For the engine ``onnx`` those that ONNX
            Runtime has a provider for.
        keep_colour: give results the brightness and colours of the input over large areas, which the paper's form can
            shift: :func:`~hifacegan_plugin.restore.colour.keep_low_frequencies`.

    Attributes:
        scale: how many times larger the results are than the images.

    Raises:
        WeightsError: if the weights cannot be used.
        EngineError: if the engine or device is not there, or cannot do what it is asked to.
    """

    def __init__(
        self,
        weights: str | Path | Network = 'general',
        engine: str = 'auto',
        dtype: str = 'float32',
        memory: int | None = None,
        device: str | torch.device = 'auto',
        keep_colour: bool = False,
    ) -> None:
        generator = weights if isinstance(weights, Network) else load_network(PACKAGED.get(str(weights), weights))
        self._fitting = FittingEngine(generator, engine, dtype, memory, str(device))
        self.engine, self.device, self.dtype = self._fitting.engine, self._fitting.device, dtype
        self.keep_colour = keep_colour
        self.num_in_ch = generator.num_in_ch
        self.scale = generator.scale

    @overload
    def __call__(self, image: Tensor) -> Tensor: ...

    @overload
    def __call__(self, image: np.ndarray | str | os.PathLike[str]) -> np.ndarray: ...

    def __call__(self, image: np.ndarray | Tensor | str | os.PathLike[str]) -> np.ndarray | Tensor:
        """Restore an image, or a batch of them as a tensor.

        Args:
            image: of any size, one of

                - an array, uint8 or uint16: ``(H, W)`` or ``(H, W, 1)`` grey, ``(H, W, 2)`` grey and alpha,
                  ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA;
                - a tensor ``(C, H, W)`` or ``(N, C, H, W)``, uint8 or floating point in [0, 1], of 1 to 4 channels with
                  the same meaning;
                - the path of an image file.

        Returns:
            What was given, restored: of the same kind, shape and type, a tensor on the same device. Alpha is passed on
            as it is. Of a file, the array. With a network that enlarges, ``scale`` times as high and wide.

        Raises:
            TypeError: if ``image`` is nothing of these.
            ValueError: if its type, shape or range is another, if the file cannot be read, if ``image`` is in colour
                where the network is for grey images, or if the result holds NaN.
        """
        if isinstance(image, str | os.PathLike):
            try:
                return self._restore_array(read_photograph(Path(image), MAX_PIXELS).pixels)
            except ImageError as error:
                raise ImageError(f'{os.fspath(image)}: {error}') from error
        if isinstance(image, Tensor):
            return self._restore_tensor(image)
        if isinstance(image, np.ndarray):
            return self._restore_array(image)
        raise TypeError(
            f'an image is a numpy array, a torch tensor or the path of a file, not {type(image).__name__} '
            '(numpy.asarray makes an array of an image of Pillow)'
        )

    def _restore_array(self, image: np.ndarray) -> np.ndarray:
        try:
            check_pixels(image)
        except ValueError as error:
            raise ValueError(f'{error}; take a tensor for (C, H, W), for batches and for floating point') from None
        channels = image.shape[2] if image.ndim == 3 else 1
        pixels = image.reshape(1, *image.shape[:2], channels).transpose(0, 3, 1, 2)
        colours = colour_channels(channels)
        peak = np.float32(np.iinfo(image.dtype).max)
        y = self._restore_colours(pixels[:, :colours], peak)
        y *= peak
        restored = np.rint(y, out=y).astype(image.dtype)
        restored = np.concatenate([restored, self._enlarge(pixels[:, colours:])], axis=1)[0].transpose(1, 2, 0)
        return np.ascontiguousarray(restored).reshape(*restored.shape[:2], *image.shape[2:])

    def _restore_tensor(self, image: Tensor) -> Tensor:
        integer = image.dtype == torch.uint8
        images = image.detach() if image.ndim == 4 else image.detach()[None]
        if not (integer or image.is_floating_point()) or image.numel() == 0 or images.ndim != 4 or images.shape[1] > 4:
            raise ValueError(
                'an image as a tensor is uint8 or floating point, (C, H, W) or (N, C, H, W) of 1 to 4 channels, not '
                f'{image.dtype} {tuple(image.shape)}'
            )
        if not (integer or (image.min() >= 0 and image.max() <= 1)):
            raise ValueError('an image as a tensor of floating point lies in [0, 1]: divide it by 255, or clamp it')
        colours = colour_channels(images.shape[1])
        pixels = images[:, :colours].cpu()
        peak = np.float32(255 if integer else 1)
        y = torch.from_numpy(self._restore_colours((pixels if integer else pixels.float()).numpy(), peak))
        restored = y.mul_(255).round_() if integer else y
        alpha = torch.from_numpy(self._enlarge(images[:, colours:].cpu().float().numpy()))
        restored = torch.cat([restored.to(images), alpha.to(images)], dim=1)
        return restored.reshape(*image.shape[:-2], *restored.shape[-2:])

    def _enlarge(self, alpha: np.ndarray) -> np.ndarray:
        """Enlarge ``(N, 0 or 1, H, W)``, bilinearly, as the network enlarges the colours."""
        if self.scale == 1 or alpha.shape[1] == 0:
            return alpha.repeat(self.scale, 2).repeat(self.scale, 3)
        height, width = (self.scale * side for side in alpha.shape[2:])
        return np.stack([[resize(each[0], height, width, 'linear')] for each in alpha])

    def _restore_colours(self, pixels: np.ndarray, peak: np.float32) -> np.ndarray:
        """Restore ``(N, 1 or 3, H, W)`` in [0, ``peak``] to float32 of as many channels in [0, 1]."""
        colours = pixels.shape[1]
        if self.num_in_ch == 1 < colours:
            raise ValueError('these weights are for grey images; convert the image')
        # In place from here on: a copy of a large image takes more memory than a tile.
        x = np.broadcast_to(pixels, (len(pixels), self.num_in_ch, *pixels.shape[2:])).astype(np.float32)
        x /= peak
        y = self.restore(x)
        del x
        y.clip(0, 1, out=y)
        if np.isnan(y.sum()):
            raise ValueError(f'the network gives no numbers (NaN) in {self.dtype}: take float32, or other weights')
        return np.einsum('nchw,c->nhw', y, np.array(LUMA, y.dtype))[:, None] if colours < y.shape[1] else y

    def restore(self, images: np.ndarray) -> np.ndarray:
        """Restore float32 images ``(N, C, H, W)`` in [0, 1], of any height and width; the result may leave [0, 1].

        Raises:
            TypeError: if ``images`` are no array.
            ValueError: if they are nothing of that, or of other channels than the network takes.
        """
        if not isinstance(images, np.ndarray):
            raise TypeError(f'restore() takes a numpy array, not {type(images).__name__}')
        if images.dtype != np.float32 or images.ndim != 4 or images.shape[1] != self.num_in_ch:
            raise ValueError(
                f'restore() takes float32 (N, {self.num_in_ch}, H, W), not {images.dtype} {images.shape}; '
                'the restorer itself, called, takes images of other kinds'
            )
        if images.size == 0:
            raise ValueError(f'there are no pixels in {images.shape}')
        if min(images.strides) < 0:  # as of a mirrored image; torch refuses it
            images = images.copy()
        restored = self._fitting(images)
        if self.keep_colour:
            keep_low_frequencies(restored, images)
        return restored


def colour_channels(channels: int) -> int:
    """Return how many of 1 to 4 channels are not alpha."""
    return channels - (channels % 2 == 0)
