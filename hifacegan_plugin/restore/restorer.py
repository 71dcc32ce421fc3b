"""Pictures in, pictures out: any size, grey or colour, with or without alpha, 8 or 16 bits."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np

from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.archs.csr_form import DOWNSCALE, MIN_SIZE, fast_reach
from hifacegan_plugin.restore.engines import Engine, choose_engine, open_engine
from hifacegan_plugin.restore.tiles import restore_in_tiles
from hifacegan_plugin.weights import PRETRAINED, load_generator

logger = logging.getLogger('basicsr.hifacegan_plugin')

GIB = 1 << 30
OVERLAP = 96  # pixels that tiles share
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601

# Numbers that an engine holds at a time, a pixel: times num_feat, and times the channels of the picture. Measured for
# torch; an upper estimate for the others.
NUMBERS_PER_PIXEL = {'torch': (2.8, 6), 'compiled': (16, 6), 'onnx': (16, 6), 'openvino': (16, 6), 'frugal': (0.8, 6)}
FAST_NUMBERS_PER_PIXEL = (29, 6)  # of the fast form, in any engine


class Restorer:
    """Restores pictures with the weights of a file: ``Restorer('net_g.pth')(image)``.

    Args:
        weights: a file that :func:`hifacegan_plugin.weights.load_generator` reads, or a network. Default: the small
            network that comes with the plugin, for mild blur, low resolution, noise and JPEG artefacts.
        engine: ``torch``, ``compiled``, ``onnx``, ``openvino``, or ``auto``: see
            :func:`~hifacegan_plugin.restore.engines.choose_engine`.
        dtype: ``float32``, ``bfloat16`` or (CUDA) ``float16``.
        memory: bytes that a picture may take while it is restored, besides the program and its weights. Pictures that
            would take more are restored by torch from less memory, with the same result; those that still do not fit,
            in overlapping tiles, with a warning, because tiles are normalised apart. The fast form normalises nothing:
            it works in tiles at once, and these give the same result. Two float32 copies of the picture, and a tile
            of the least size, are taken in any case.

    Raises:
        WeightsError: if the weights cannot be used.
        EngineError: if the engine is not installed or cannot do what it is asked to.
    """

    def __init__(
        self,
        weights: str | Path | CSRGenerator = PRETRAINED,
        engine: str = 'auto',
        dtype: str = 'float32',
        memory: int = 3 * GIB,
    ) -> None:
        generator = weights if isinstance(weights, CSRGenerator) else load_generator(weights)
        self.engine = choose_engine(engine, dtype)
        self.dtype = dtype
        self.memory = memory
        self.num_feat, self.num_in_ch, self.local = generator.num_feat, generator.num_in_ch, generator.preset == 'fast'
        if self.local:  # further than that from its end, a tile gives the exact result; rounded up to half a step
            self._margin = -(-fast_reach(generator.num_scales) // (DOWNSCALE // 2)) * (DOWNSCALE // 2)
        self._ways: dict[str, Engine] = {self.engine: open_engine(self.engine, generator, dtype)}
        # Kept only where large pictures will ask for torch, because it takes as much memory again as the engine.
        self._generator = None if 'torch' in self._ways else generator

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Restore one picture.

        Args:
            image: uint8 or uint16: ``(H, W)`` grey, ``(H, W, 2)`` grey and alpha, ``(H, W, 3)`` RGB or ``(H, W, 4)``
                RGBA, of any size.

        Returns:
            A picture of the same shape and type. Alpha is passed on as it is.

        Raises:
            ValueError: if ``image`` is none of these, or in colour where the network is for grey pictures; if the
                result holds NaN.
        """
        if image.dtype not in (np.uint8, np.uint16) or image.size == 0 or image.shape[2:] not in ((), (2,), (3,), (4,)):
            raise ValueError(f'a picture is uint8 or uint16, (H, W) or (H, W, 2 to 4), not {image.dtype} {image.shape}')
        colours = image.shape[2] - (image.shape[2] % 2 == 0) if image.ndim == 3 else 1
        if self.num_in_ch == 1 < colours:
            raise ValueError('these weights are for grey pictures; convert the picture')
        peak = np.float32(np.iinfo(image.dtype).max)
        plain = image.reshape(*image.shape[:2], -1)[..., :colours]
        # In place from here on: a copy of a large picture takes more memory than a tile.
        x = np.broadcast_to(plain, (*plain.shape[:2], self.num_in_ch)).transpose(2, 0, 1).astype(np.float32)[None]
        x /= peak
        y = self.restore(x)[0].transpose(1, 2, 0)
        del x
        y.clip(0, 1, out=y)
        if np.isnan(y.sum()):
            raise ValueError(f'the network gives no numbers (NaN) in {self.dtype}: take float32, or other weights')
        if colours < y.shape[2]:
            y = y @ LUMA[:, None]
        y *= peak
        restored = np.rint(y, out=y).astype(image.dtype)
        if image.ndim == 2:
            return restored[..., 0]
        return np.concatenate([restored, image[..., colours:]], axis=2)

    def restore(self, pictures: np.ndarray) -> np.ndarray:
        """Restore float32 pictures ``(N, C, H, W)`` in [0, 1], of any height and width; the result may leave [0, 1]."""
        height, width = pictures.shape[-2:]
        missing = (max(MIN_SIZE - height, 0), max(MIN_SIZE - width, 0))
        if any(missing):
            pictures = np.pad(pictures, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])), mode='symmetric')
        return self._restore_any(pictures)[..., :height, :width]

    def _restore_any(self, pictures: np.ndarray) -> np.ndarray:
        """Restore pictures from 64 x 64 up in the fastest way that their size leaves."""
        names = (self.engine,) if self.local else (self.engine, 'torch', 'frugal')
        for name in names:
            if pictures[:, 0].size * self._bytes_per_pixel(name) <= self.memory:
                return self._way(name)(pictures)
        overlap, margin = (2 * self._margin + DOWNSCALE, self._margin) if self.local else (OVERLAP, 0)
        left = max(self.memory - 2 * pictures.nbytes, 0)  # beside the whole pictures before and after
        pixels = left // self._bytes_per_pixel(names[-1]) // len(pictures)
        size = max(int(pixels**0.5) // DOWNSCALE * DOWNSCALE, 2 * overlap)
        if not self.local:
            height, width = pictures.shape[-2:]
            logger.warning(
                f'{width} x {height} pixels do not fit into {self.memory / GIB:.2g} GiB: restoring tiles of {size} x '
                f'{size}, whose contrast may differ a little. More memory gives the exact result.'
            )
        return restore_in_tiles(self._way(names[-1]), pictures, size, overlap, margin)

    def _bytes_per_pixel(self, name: str) -> int:
        features, pictures = FAST_NUMBERS_PER_PIXEL if self.local else NUMBERS_PER_PIXEL[name]
        return int(4 * (features * self.num_feat + pictures * self.num_in_ch))

    def _way(self, name: str) -> Engine:
        """Give an engine, or ``frugal``: the torch engine told to save memory."""
        if name not in self._ways:
            if name == 'frugal':
                self._ways[name] = partial(self._way('torch'), frugal=True)
            else:
                self._ways[name] = open_engine(name, self._generator, self.dtype)
        return self._ways[name]
