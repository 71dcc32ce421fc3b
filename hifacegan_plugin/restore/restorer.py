"""Restore images of any size: grey or colour, with or without alpha, 8 or 16 bits."""

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
from hifacegan_plugin.restore.blending import keep_low_frequencies
from hifacegan_plugin.restore.engines.fitting import FittingEngine
from hifacegan_plugin.weights import PACKAGED, Network, load_network


class Restorer:
    """Restores images with the weights in a file: ``Restorer('net_g.pth')(image)``. It is thread-safe.

    Args:
        weights: ``general`` or ``faces``, the networks that come with the package (``hifacegan models``); a file that
            :func:`hifacegan_plugin.weights.load_network` reads, of this plugin or of a third-party network; or a
            network.
        engine: ``torch``, ``compiled``, ``onnx``, ``openvino``, or ``auto``: see
            :func:`~hifacegan_plugin.restore.engines.starting.choose_engine`.
        dtype: ``float32``, ``bfloat16`` or (not on a CPU) ``float16``.
        memory: limit in bytes for restoring one image, without the program and the weights. Default: 3 GiB; on an
            accelerator, 85 % of the memory that is free when the image is restored. For an image that needs more, torch
            runs in a slower mode that needs less memory and gives the same result. If that does not fit either, the
            image is restored in overlapping tiles, with a warning, because each tile is normalised separately. The fast
            network has no normalisation: it goes to tiles directly, with the same result. Two float32 copies of the
            image and a tile of the smallest size are allocated in any case. If the device still runs out of memory,
            smaller tiles are tried, and at last the CPU in float32, each with a warning.
        device: ``cpu``; ``cuda``, ``cuda:1`` ..., ``xpu`` (Intel), ``mps`` (Apple), by name or as a ``torch.device``;
            ``auto``: the first accelerator that works here, else the CPU. The engine ``onnx`` supports the devices that
            ONNX Runtime has a provider for.
        keep_colour: keep the brightness and colours of the input over large areas, which the paper's network can shift;
            see :func:`~hifacegan_plugin.restore.blending.keep_low_frequencies`.

    Attributes:
        scale: upscaling factor of the network.

    Raises:
        WeightsError: if the weights cannot be used.
        EngineError: if the engine or device is missing, or does not support the options.
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
                - a tensor ``(C, H, W)`` or ``(N, C, H, W)``, uint8 or floating point in [0, 1], with 1 to 4 channels of
                  the same meaning;
                - the path of an image file.

        Returns:
            The restored image, of the same kind, type and shape as ``image``, on the same device; for a path, an array.
            Height and width are multiplied by ``scale``. Alpha is not changed, except that it is upscaled with the
            image.

        Raises:
            TypeError: if ``image`` is none of these.
            ValueError: if its dtype, shape or range is wrong, the file cannot be read, ``image`` has colours but the
                network takes grey images, or the result contains NaN.
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
            raise ValueError(f'{error}; use a tensor for (C, H, W), batches or floating point') from None
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
        given = images.cpu() if integer else images.cpu().float()
        peak = np.float32(255 if integer else 1)
        y = torch.from_numpy(self._restore_colours(given[:, :colours].numpy(), peak))
        restored = y.mul_(255).round_() if integer else y
        alpha = torch.from_numpy(self._enlarge(given[:, colours:].numpy()))
        restored = torch.cat([restored.to(images), alpha.to(images)], dim=1)
        return restored.reshape(*image.shape[:-2], *restored.shape[-2:])

    def _enlarge(self, alpha: np.ndarray) -> np.ndarray:
        """Upscale alpha ``(N, 0 or 1, H, W)`` bilinearly to the size of the restored colours."""
        if self.scale == 1 or alpha.shape[1] == 0:
            return alpha.repeat(self.scale, 2).repeat(self.scale, 3)
        height, width = (self.scale * side for side in alpha.shape[2:])
        return np.stack([[resize(each[0], height, width, 'linear')] for each in alpha])

    def _restore_colours(self, pixels: np.ndarray, peak: np.float32) -> np.ndarray:
        """Restore ``(N, 1 or 3, H, W)`` in [0, ``peak``] to float32 of as many channels in [0, 1]."""
        colours = pixels.shape[1]
        if self.num_in_ch == 1 < colours:
            raise ValueError('these weights are for grey images; convert the image')
        # In place from here on: a copy of a large image would take more memory than a tile.
        x = np.broadcast_to(pixels, (len(pixels), self.num_in_ch, *pixels.shape[2:])).astype(np.float32)
        x /= peak
        y = self.restore(x)
        del x
        y.clip(0, 1, out=y)
        if np.isnan(y.sum()):
            raise ValueError(f'the output of the network contains NaN in {self.dtype}: use float32, or other weights')
        return np.einsum('nchw,c->nhw', y, np.array(LUMA, y.dtype))[:, None] if colours < y.shape[1] else y

    def restore(self, images: np.ndarray) -> np.ndarray:
        """Restore float32 images ``(N, C, H, W)`` in [0, 1], of any height and width; the result may leave [0, 1].

        Raises:
            TypeError: if ``images`` is not an array.
            ValueError: if its dtype, shape or number of channels is wrong.
        """
        if not isinstance(images, np.ndarray):
            raise TypeError(f'restore() takes a numpy array, not {type(images).__name__}')
        if images.dtype != np.float32 or images.ndim != 4 or images.shape[1] != self.num_in_ch:
            raise ValueError(
                f'restore() takes float32 (N, {self.num_in_ch}, H, W), not {images.dtype} {images.shape}; '
                'call the restorer itself for other images'
            )
        if images.size == 0:
            raise ValueError(f'there are no pixels in {images.shape}')
        if min(images.strides) < 0:  # such as a flipped array, which torch refuses
            images = images.copy()
        restored = self._fitting(images)
        if self.keep_colour:
            keep_low_frequencies(restored, images)
        return restored


def colour_channels(channels: int) -> int:
    """Return the number of colour channels, without alpha, of 1 to 4 channels."""
    return channels - (channels % 2 == 0)
