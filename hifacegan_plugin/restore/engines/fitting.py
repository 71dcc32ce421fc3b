"""Run a network within the available memory: in one pass, else frugally, else in tiles, else on the CPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.restore.engines.devices import (
    CPU,
    count_devices,
    is_out_of_memory,
    kind_of,
    release_unused_memory,
)
from hifacegan_plugin.restore.engines.footprint import GIB, bytes_per_pixel, engines_by_memory, free_memory, on_card
from hifacegan_plugin.restore.engines.inference import Engine
from hifacegan_plugin.restore.engines.starting import open_engine, start_engine
from hifacegan_plugin.restore.engines.tiles import restore_in_tiles
from hifacegan_plugin.weights import Network, RecognisedNetwork

logger = logging.getLogger('basicsr.hifacegan_plugin')

OVERLAP = 96  # pixels that neighbouring tiles share, if the network normalises each tile by itself


class FittingEngine:
    """Runs a network on images of any size, in any number of threads at a time, within the memory available.

    Args:
        generator: the network.
        engine, dtype, memory, device: as for :class:`~hifacegan_plugin.restore.restorer.Restorer`.

    Attributes:
        engine: the name of the engine that is used if memory suffices.
        device: the device that it runs on.

    Raises:
        EngineError: if the engine or device is missing, or does not support the options.
    """

    def __init__(self, generator: Network, engine: str, dtype: str, memory: int | None, device: str) -> None:
        self.engine, self.device, restore = start_engine(engine, generator, dtype, device)
        self.dtype = dtype
        self.memory = memory
        self._opening = threading.RLock()  # held while an engine is looked up and opened
        self._opened: dict[str, Callable[..., np.ndarray]] = {self.engine: restore}
        self._generator: Network = generator
        # Do not keep the generator: its weights take as much memory as the engine.
        if self._is_last_resort and isinstance(generator, CSRNetwork):
            with torch.device('meta'):
                self._generator = CSRGenerator(**generator.options)

    @property
    def _is_last_resort(self) -> bool:
        """Whether no other choice takes less memory than this engine on this device."""
        return (self.engine, self.device) == ('torch', CPU)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Restore float32 images ``(N, C, H, W)`` in [0, 1], of any height and width; the result may leave [0, 1].

        Raises:
            ValueError: if a third-party network does not take images of this size.
        """
        height, width = images.shape[-2:]
        if isinstance(self._generator, RecognisedNetwork):
            self._generator.check_size(height, width)
        least = self._generator.smallest_side
        missing = (max(least - height, 0), max(least - width, 0))
        if any(missing):
            images = np.pad(images, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])), mode='symmetric')
        scale = self._generator.scale
        return self._restore_padded(images)[..., : scale * height, : scale * width]

    def _restore_padded(self, images: np.ndarray) -> np.ndarray:
        """Restore images of at least the smallest side in the first way for which the memory suffices.

        Raises:
            MemoryError: if even the CPU has too little.
        """
        height, width = images.shape[-2:]
        for restore in self._ways(images):
            try:
                return restore(images)
            except Exception as error:  # each backend raises its own classes
                if not is_out_of_memory(error):
                    raise
                reason = str(error)
                logger.warning(f'{width} x {height} pixels: {self.device} ran out of memory, trying with less.')
            release_unused_memory(self.device)  # after the error is deleted: its traceback holds tensors
        if self._is_last_resort:
            raise MemoryError(reason)
        logger.warning(f'{width} x {height} pixels: not even the smallest tile fits: restoring on the CPU, in float32.')
        with self._opening:
            if 'cpu' not in self._opened:
                self._opened['cpu'] = FittingEngine(self._generator, 'torch', 'float32', self.memory, CPU)
        return self._opened['cpu'](images)

    def _ways(self, images: np.ndarray) -> Iterator[Engine]:
        """Yield functions that restore these images, each in less memory than the one before.

        First come the engines that should fit by the estimate, then tiles of falling size; at least one way is yielded.
        """
        names = engines_by_memory(self._generator, self.engine)
        for name in names:
            if images[:, 0].size * self._bytes_per_pixel(name) <= self._memory_for(name):
                yield self._open(name)
        if not (isinstance(self._generator, RecognisedNetwork) and self._generator.only_side):
            yield from self._ways_in_tiles(names[-1], images)

    def _ways_in_tiles(self, name: str, images: np.ndarray) -> Iterator[Engine]:
        """Yield functions that restore images in tiles: the largest that should fit, and smaller ones."""
        multiple, reach = self._generator.multiple, self._generator.reach
        # A network's result is exact beyond its reach from the border of a tile.
        shared, margin = (OVERLAP, 0) if reach is None else (2 * reach + 1, reach)
        overlap = -(-shared // multiple) * multiple
        least = 2 * overlap
        size = max(self._largest_tile(name, images) // multiple * multiple, least)
        tiled = partial(
            restore_in_tiles,
            self._open(name),
            multiple=multiple,
            overlap=overlap,
            margin=margin,
            scale=self._generator.scale,
        )
        height, width = images.shape[-2:]
        while True:
            if reach is None:
                logger.warning(
                    f'{width} x {height} pixels do not fit into {self._memory_for(name) / GIB:.2g} GiB: restoring '
                    f'tiles of {size} x {size}, whose contrast may differ a little. More memory gives the exact result.'
                )
            yield partial(tiled, size=size)
            if size == least:
                return
            size = max(size // 2 // multiple * multiple, least)

    def _largest_tile(self, name: str, images: np.ndarray) -> int:
        """Return the side of the largest tile that should fit by the estimate."""
        left = self._memory_for(name)
        if not on_card(name, self._device_of(name)):  # the whole input and output lie in the same memory as the tiles
            left = max(left - (1 + self._generator.scale**2) * images.nbytes, 0)
        pixels = left // self._bytes_per_pixel(name) // len(images)
        return min(int(pixels**0.5), max(images.shape[-2:]) - 1)

    def _memory_for(self, name: str) -> int:
        """Return the bytes that an image may take with an engine, or ``frugal``."""
        return free_memory(name, self._device_of(name)) if self.memory is None else self.memory

    def _bytes_per_pixel(self, name: str) -> int:
        return bytes_per_pixel(self._generator, name, self.dtype, self._device_of(name))

    def _device_of(self, name: str) -> str:
        """Return the device of an engine or ``frugal``; torch runs on the CPU if it cannot use the engine's device."""
        can = name == self.engine or self.device == CPU or count_devices(kind_of(self.device))
        return self.device if can else CPU

    def _open(self, name: str) -> Callable[..., np.ndarray]:
        """Return an engine, opened at the first call; ``frugal`` is the torch engine in its memory-saving mode."""
        with self._opening:
            if name not in self._opened:
                if name == 'frugal':
                    self._opened[name] = partial(self._open('torch'), frugal=True)
                else:
                    device = self._device_of(name)
                    dtype = 'float32' if (device, self.dtype) == (CPU, 'float16') else self.dtype
                    self._opened[name] = open_engine(name, self._generator, dtype, device)
            return self._opened[name]
