"""Pairs of a degraded and a clean image; the degradation is drawn when an image is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from hifacegan_plugin.data.degradations import build_degradation, fit, make_generator
from hifacegan_plugin.data.guides import Guides
from hifacegan_plugin.images.sources import ImageSource, find_images, names_to_save, read_depth, read_image
from hifacegan_plugin.schema.data import BuiltDegradations
from hifacegan_plugin.schema.section import parse


class DegradationDataset(Dataset[dict[str, Any]]):
    """Read clean images from folders or LMDBs and degrade them by a recipe.

    In training, every draw depends only on (seed, epoch, index): it is new in each epoch, and the same in every run and
    with any number of workers. In other phases, the whole image is degraded with ``make_generator(seed, name)``, where
    ``name`` is the path below the root without suffix (in an LMDB, the unquoted key). The result is always the same.

    Args:
        opt: the options of the data set, see :class:`BuiltDegradations` and docs/degradations.md.

    Items are dictionaries. ``lq`` is (3, h / scale, w / scale) and ``gt`` is (3, h, w), RGB, or (1, ...) grey, float32
    in [0, 1] (or uint8). ``lq_path`` and ``gt_path`` are the file or LMDB key. In phases other than training, ``name``
    is a unique name for saving results. If requested, ``guide`` is another image of the same person, of the size of
    ``lq``, and ``degradation`` holds the drawn steps as JSON.

    Raises:
        ValueError: options that are unknown, missing or out of range; an image that cannot be used.
        FileNotFoundError: a root, a part of a database or a list that does not exist.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        options = parse(BuiltDegradations, opt, f'dataset {opt.get("name", "without a name")}')
        self.opt = opt  # the host's validation asks for the name of the data set here
        self.degrade = build_degradation(options.degradation)
        backend = options.io_backend.type if options.io_backend else 'disk'
        self.images = find_images(options.dataroot_gt, backend, list_file=options.meta_info_file)
        self.guides = None if options.guide is None else Guides(self.images, options.guide)
        self.depth_maps = _match(self.images, options.dataroot_depth, backend)
        self.training = options.phase == 'train'
        self.names = [] if self.training else names_to_save(self.images)
        self.grey = options.color == 'grey'
        self.gt_size = options.gt_size
        self.resize = options.resize
        self.use_hflip = options.use_hflip
        self.use_rot = options.use_rot
        self.scale = options.scale
        self.seed = options.seed
        self.deliver = options.deliver or 'float'
        self.return_parameters = options.return_parameters
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # persistent workers have to see it change

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the training draws, also in running workers."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one pair. In training, ``index`` may exceed the length, for further draws of the same images."""
        if index < 0 or (index >= len(self) and not self.training):
            raise IndexError(f'index {index} of {len(self)} images')
        if get_worker_info() is not None:
            cv2.setNumThreads(0)  # the workers share the cores already
        source = self.images[index % len(self)]
        key = (int(self._epoch), index) if self.training else (source.stem,)
        rng = make_generator(self.seed, *key)

        image, depth = read_image(source), None
        prepare = self._draw_preparation(image.shape[:2], rng, source)
        gt = self._in_colours(prepare(image))
        if self.depth_maps is not None:
            depth_map = read_depth(self.depth_maps[index % len(self)])
            depth = prepare(cv2.resize(depth_map, image.shape[1::-1]))
        log: list[dict[str, Any]] | None = [] if self.return_parameters else None
        lq = self.degrade(gt, rng, log, depth)
        lq = fit(lq, gt.shape[0] // self.scale, gt.shape[1] // self.scale)
        item = {'lq': self._delivered(lq), 'gt': self._delivered(gt), 'lq_path': source.path, 'gt_path': source.path}
        if self.guides is not None:
            guide_rng = make_generator(self.seed, *key, 'guide')  # leaves the other draws as they are
            guide = self.guides.draw(index % len(self), gt, lambda other: self._in_colours(prepare(other)), guide_rng)
            item['guide'] = self._delivered(fit(guide, *lq.shape[:2]))
        if not self.training:
            item['name'] = self.names[index]
        if self.return_parameters:
            item['degradation'] = json.dumps(log)
        return item

    def _in_colours(self, image: np.ndarray) -> np.ndarray:
        """Turn BGR into RGB (H, W, 3) or grey (H, W, 1)."""
        return np.atleast_3d(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY if self.grey else cv2.COLOR_BGR2RGB))

    def _delivered(self, image: np.ndarray) -> torch.Tensor:
        tensor = _to_tensor(image)
        return tensor.float().div_(255) if self.deliver == 'float' else tensor

    def _draw_preparation(
        self, size: tuple[int, int], rng: np.random.Generator, source: ImageSource
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Draw how an image of this size is resized, cropped and flipped; ``scale`` divides the sides that result."""
        resized = height, width = _resized(size, self.resize)
        if self.gt_size is None:
            if min(height, width) < self.scale:
                raise ValueError(f'{source} is {width}x{height}, smaller than scale {self.scale}: remove it.')
            rows, columns = slice(height - height % self.scale), slice(width - width % self.scale)
        else:
            if min(height, width) < self.gt_size:
                raise ValueError(
                    f'{source} is {width}x{height}, smaller than gt_size {self.gt_size}: '
                    f'lower gt_size, or set resize: {self.gt_size}'
                )
            top, left = (int(rng.integers(length - self.gt_size, endpoint=True)) for length in resized)
            rows, columns = slice(top, top + self.gt_size), slice(left, left + self.gt_size)
        flips = np.array((self.use_hflip, self.use_rot, self.use_rot))
        hflip, vflip, transpose = flips & (rng.random(3) < 0.5) if self.training else flips

        def prepare(image: np.ndarray) -> np.ndarray:
            image = fit(image, *resized)[rows, columns]
            if hflip:
                image = cv2.flip(image, 1)
            if vflip:
                image = cv2.flip(image, 0)
            return cv2.transpose(image) if transpose else image

        return prepare


def _match(images: list[ImageSource], dataroot: str | list[str] | None, backend: str) -> list[ImageSource] | None:
    """Find the depth map of every image by its name."""
    if dataroot is None:
        return None
    by_name: dict[str, ImageSource] = {}
    for depth_map in find_images(dataroot, backend, option='dataroot_depth'):
        if depth_map.stem in by_name:
            raise ValueError(
                f'dataroot_depth has two depth maps of one name: {by_name[depth_map.stem]} and {depth_map}'
            )
        by_name[depth_map.stem] = depth_map
    for image in images:
        if image.stem not in by_name:
            raise ValueError(f'dataroot_depth has no depth map for {image}')
    return [by_name[image.stem] for image in images]


def _resized(size: tuple[int, int], resize: int | list[int] | None) -> tuple[int, int]:
    """Return the (height, width) to which the option ``resize`` brings an image of a size."""
    if resize is None:
        return size
    if isinstance(resize, int):
        height, width = (max(resize, round(length * resize / min(size))) for length in size)
    else:
        height, width = resize
    return height, width


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """Turn (H, W, C) into (C, H, W), both uint8."""
    planes = np.empty((image.shape[2], *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes))
    return torch.from_numpy(planes)
