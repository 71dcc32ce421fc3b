"""Images in, images out: any size, grey or colour, with or without alpha, 8 or 16 bits."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.archs.csr_network import CSRNetwork
from hifacegan_plugin.images.channels import LUMA
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.opening import MAX_PIXELS
from hifacegan_plugin.images.photographs import check_pixels, read_photograph
from hifacegan_plugin.images.resizing import resize
from hifacegan_plugin.restore.colour import keep_low_frequencies
from hifacegan_plugin.restore.devices import CPU, count_devices, is_out_of_memory, kind_of, release_unused_memory
from hifacegan_plugin.restore.engines import open_engine, start_engine
from hifacegan_plugin.restore.footprint import GIB, bytes_per_pixel, engines_by_memory, free_memory, on_card
from hifacegan_plugin.restore.inference import Engine
from hifacegan_plugin.restore.tiles import restore_in_tiles
from hifacegan_plugin.weights import PACKAGED, Network, RecognisedNetwork, load_network

logger = logging.getLogger('basicsr.hifacegan_plugin')

OVERLAP = 96  # pixels that tiles share, if the statistics of each are its own


class Restorer:
    """Restores images with the weights of a file: ``Restorer('net_g.pth')(image)``, in any number of threads at a time.

    Args:
        weights: ``general`` or ``faces``, the networks that come with the package (``hifacegan models``); a file that
            :func:`hifacegan_plugin.weights.load_network` reads, of this plugin or of another author; or a network.
        engine: ``torch``, ``compiled``, ``onnx``, ``openvino``, or ``auto``: see
            :func:`~hifacegan_plugin.restore.engines.choose_engine`.
        dtype: ``float32``, ``bfloat16`` or (not on a CPU) ``float16``.
        memory: bytes that an image may take while it is restored, besides the program and its weights. Default: 3 GiB;
            on an accelerator, 85 % of what is free there when the image comes. Images that would take more are restored
            by torch from less memory, with the same result; those that still do not fit, in overlapping tiles, with a
            warning, because tiles are normalised apart. The fast network normalises nothing: it works in tiles at
            once, with the same result. Two float32 copies of the image, and a tile of the least size, are taken in any
            case. A device that runs out of memory all the same is given less to do at a time, and at last the CPU does
            the work, in float32, each with a warning.
        device: ``cpu``; ``cuda``, ``cuda:1`` ..., ``xpu`` (Intel), ``mps`` (Apple); ``auto``: the first accelerator
            that works here, else the CPU. For the engine ``onnx`` those that ONNX Runtime has a provider for.
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
        device: str = 'auto',
        keep_colour: bool = False,
    ) -> None:
        generator = weights if isinstance(weights, Network) else load_network(PACKAGED.get(str(weights), weights))
        self.engine, self.device, restore = start_engine(engine, generator, dtype, device)
        self.dtype = dtype
        self.memory = memory
        self.keep_colour = keep_colour
        self.num_in_ch = generator.num_in_ch
        self.scale = generator.scale
        self._opening = threading.RLock()  # held while an engine is looked up and opened
        self._opened: dict[str, Callable[..., np.ndarray]] = {self.engine: restore}
        self._generator: Network = generator
        # The weights, which take as much memory as the engine, are not asked for again.
        if self._is_last_resort and isinstance(generator, CSRNetwork):
            with torch.device('meta'):
                self._generator = CSRGenerator(**generator.options)

    @property
    def _is_last_resort(self) -> bool:
        """Whether nothing takes less memory than this engine on this device."""
        return (self.engine, self.device) == ('torch', CPU)

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
        height, width = images.shape[-2:]
        if isinstance(self._generator, RecognisedNetwork):
            self._generator.check_size(height, width)
        least = self._generator.smallest_side
        missing = (max(least - height, 0), max(least - width, 0))
        if any(missing):
            images = np.pad(images, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])), mode='symmetric')
        restored = self._restore_any(images)[..., : self.scale * height, : self.scale * width]
        if self.keep_colour:
            keep_low_frequencies(restored, images[..., :height, :width])
        return restored

    def _restore_any(self, images: np.ndarray) -> np.ndarray:
        """Restore images of the smallest side or more by the fastest engine whose memory suffices, or in tiles."""
        names = engines_by_memory(self._generator, self.engine)
        for name in names:
            if images[:, 0].size * self._bytes_per_pixel(name) <= self._memory_for(name):
                restored = self._unless_out_of_memory(self._open(name), images)
                if restored is not None:
                    return restored
        return self._restore_in_tiles(names[-1], images)

    def _restore_in_tiles(self, name: str, images: np.ndarray) -> np.ndarray:
        """Restore images in the largest tiles that fit, in smaller ones where memory runs out, or else on the CPU."""
        multiple, reach = self._generator.multiple, self._generator.reach
        # Further than it reaches from the end of a tile, a network returns the exact result.
        shared, margin = (OVERLAP, 0) if reach is None else (2 * reach + 1, reach)
        overlap = -(-shared // multiple) * multiple
        least = 2 * overlap
        memory = self._memory_for(name)
        # Before and after, the whole images lie beside the tiles, though not on a card.
        left = memory if on_card(name, self._device_of(name)) else max(memory - (1 + self.scale**2) * images.nbytes, 0)
        pixels = left // self._bytes_per_pixel(name) // len(images)
        height, width = images.shape[-2:]
        size = min(int(pixels**0.5), max(height, width) - 1)  # there may be no room for what should fit
        size = max(size // multiple * multiple, least)
        while True:
            if reach is None:
                logger.warning(
                    f'{width} x {height} pixels do not fit into {memory / GIB:.2g} GiB: restoring tiles of {size} x '
                    f'{size}, whose contrast may differ a little. More memory gives the exact result.'
                )
            restore = partial(
                restore_in_tiles,
                self._open(name),
                multiple=multiple,
                size=size,
                overlap=overlap,
                margin=margin,
                scale=self.scale,
            )
            if size == least and self._is_last_resort:
                return restore(images)
            restored = self._unless_out_of_memory(restore, images)
            if restored is not None:
                return restored
            if size == least:
                return self._restore_on_cpu(images)
            size = max(size // 2 // multiple * multiple, least)

    def _unless_out_of_memory(self, restore: Engine, images: np.ndarray) -> np.ndarray | None:
        """Return ``restore(images)``; None, with a warning, if the device has no memory left for it."""
        try:
            return restore(images)
        except Exception as error:  # each backend has its own kinds
            if not is_out_of_memory(error):
                raise
            height, width = images.shape[-2:]
            logger.warning(f'{width} x {height} pixels: {self.device} ran out of memory, trying with less.')
        release_unused_memory(self.device)  # after the error is gone, whose traceback holds what was stored
        return None

    def _restore_on_cpu(self, images: np.ndarray) -> np.ndarray:
        height, width = images.shape[-2:]
        logger.warning(f'{width} x {height} pixels: not even the smallest tile fits: restoring on the CPU, in float32.')
        with self._opening:
            if 'cpu' not in self._opened:
                self._opened['cpu'] = Restorer(self._generator, 'torch', memory=self.memory, device=CPU).restore
        return self._opened['cpu'](images)

    def _memory_for(self, name: str) -> int:
        """Return the bytes that an image may take in an engine, or ``frugal``."""
        return free_memory(name, self._device_of(name)) if self.memory is None else self.memory

    def _bytes_per_pixel(self, name: str) -> int:
        return bytes_per_pixel(self._generator, name, self.dtype, self._device_of(name))

    def _device_of(self, name: str) -> str:
        """Return where an engine, or ``frugal``, works: torch on the CPU where it cannot use the engine's device."""
        can = name == self.engine or self.device == CPU or count_devices(kind_of(self.device))
        return self.device if can else CPU

    def _open(self, name: str) -> Callable[..., np.ndarray]:
        """Return an engine, or ``frugal``: the torch engine told to save memory; open it at the first call."""
        with self._opening:
            if name not in self._opened:
                if name == 'frugal':
                    self._opened[name] = partial(self._open('torch'), frugal=True)
                else:
                    device = self._device_of(name)
                    dtype = 'float32' if (device, self.dtype) == (CPU, 'float16') else self.dtype
                    self._opened[name] = open_engine(name, self._generator, dtype, device)
            return self._opened[name]


def colour_channels(channels: int) -> int:
    """Return how many of 1 to 4 channels are not alpha."""
    return channels - (channels % 2 == 0)
