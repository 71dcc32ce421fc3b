"""Pairs of a degraded and a clean picture, the degradation being drawn as the picture is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from hifacegan_plugin import data
from hifacegan_plugin.images.sources import ImageSource, find_images, names_to_save, read_depth, read_image

_OPTIONS = ('color', 'dataroot_gt', 'dataroot_depth', 'degradation', 'io_backend', 'meta_info_file', 'resize',
            'return_parameters', 'seed')
_TRAINING_OPTIONS = ('deliver', 'gt_size', 'use_hflip', 'use_rot')
_HOST_OPTIONS = ('name', 'type', 'phase', 'scale', 'batch_size_per_gpu', 'num_worker_per_gpu', 'dataset_enlarge_ratio',
                 'prefetch_mode', 'num_prefetch_queue', 'pin_memory', 'persistent_workers', 'use_shuffle')


class DegradationDataset(Dataset):
    """Reads clean pictures from folders or LMDBs and degrades them by a recipe.

    Every training draw is a function of (seed, epoch, index) alone: fresh in each epoch, the same from run to run and
    with any number of workers. In any other phase the whole picture is degraded with ``make_generator(seed, name)``,
    name being the path below the root without suffix (in an LMDB, the key unquoted): the same always, in any order.

    Args:
        opt: the options of the data set, with these keys besides the host's own:

            - ``dataroot_gt``: a folder or an LMDB, a pattern (``ffhq-*.lmdb``), or a list of these.
            - ``io_backend``: ``{type: disk}`` (default) or ``{type: lmdb}``.
            - ``degradation``: name of a recipe, or a list of steps; see :func:`build_degradation`.
            - ``color``: ``rgb`` (default), or ``grey`` for a network with ``num_in_ch: 1``: the luma is degraded, so
              that noise is as strong as the recipe says, and delivered in one channel.
            - ``meta_info_file``: a text file that names the pictures to take. Default: all.
            - ``dataroot_depth``: folders or LMDBs (of the same backend) with a depth map, grey, 0 near, for every
              picture, under the picture's name; for weather. Default: depth is drawn.
            - ``resize``: length of the shorter side, or ``[height, width]``, to which pictures are brought first.
            - ``scale``: the degraded picture is delivered at 1/scale of the clean one's size. Default 1. It is brought
              there by area means where it has to shrink and bicubically where it has to grow.
            - ``seed``: Default 0.
            - ``return_parameters``: also deliver what was drawn. Default false.
            - ``deliver`` (training): ``float`` (default) or ``uint8``: a quarter of the traffic from worker to trainer
              to GPU, for models that scale the pixels themselves, as HiFaceGANCSRModel does.
            - ``gt_size`` (training): side of the square crop. Default: no crop.
            - ``use_hflip``, ``use_rot`` (training): flip left to right; flip upside down and transpose, each with
              probability 1/2. Default false.

    Items are dictionaries: ``lq`` RGB (3, h / scale, w / scale) and ``gt`` (3, h, w), or grey (1, ...), float32 in [0,
    1] (or uint8); ``lq_path`` and ``gt_path`` the file or LMDB key; in any phase but training ``name``, which no other
    picture has, to save what is made of it; where asked for, ``degradation`` the drawn steps as JSON.

    Raises:
        ValueError: options that are unknown, missing or out of range; a picture that cannot be used.
        FileNotFoundError: a root, a part of a database or a list that does not exist.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        _check_names(opt)
        self.opt = opt  # the host's validation asks for the name of the data set here
        self.degrade = data.degradations.build_degradation(opt['degradation'])
        backend = opt.get('io_backend') or {'type': 'disk'}
        self.pictures = find_images(opt['dataroot_gt'], backend.get('type'), list_file=opt.get('meta_info_file'))
        self.depth_maps = _match(self.pictures, opt.get('dataroot_depth'), backend.get('type'))
        self.training = opt['phase'] == 'train'
        self.names = None if self.training else names_to_save(self.pictures)
        self.grey = opt.get('color', 'rgb') == 'grey'
        self.gt_size = opt.get('gt_size')
        self.resize = opt.get('resize')
        self.use_hflip = opt.get('use_hflip', False)
        self.use_rot = opt.get('use_rot', False)
        self.scale = opt.get('scale', 1)
        self.seed = opt.get('seed', 0)
        self.deliver = opt.get('deliver', 'float')
        self.return_parameters = opt.get('return_parameters', False)
        _check_sizes(self.gt_size, self.resize, self.scale)
        if opt.get('color', 'rgb') not in ('rgb', 'grey'):
            raise ValueError(f'color takes rgb or grey, not {opt["color"]!r}')
        if self.deliver not in ('float', 'uint8'):
            raise ValueError(f'deliver takes float or uint8, not {self.deliver!r}')
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # persistent workers have to see it change

    def set_epoch(self, epoch: int) -> None:
        """Make the draws of training those of ``epoch``, in workers that already run too."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one pair; in training ``index`` may exceed the length, for further draws of the same pictures."""
        if index < 0 or (index >= len(self) and not self.training):
            raise IndexError(f'index {index} of {len(self)} pictures')
        if get_worker_info() is not None:
            cv2.setNumThreads(0)  # the workers share the cores already
        picture = self.pictures[index % len(self)]
        key = (int(self._epoch), index) if self.training else (picture.stem,)
        rng = data.degradations.make_generator(self.seed, *key)

        image, depth = read_image(picture), None
        prepare = self._draw_preparation(image.shape[:2], rng, picture)
        gt = np.atleast_3d(cv2.cvtColor(prepare(image), cv2.COLOR_BGR2GRAY if self.grey else cv2.COLOR_BGR2RGB))
        if self.depth_maps is not None:
            depth_map = read_depth(self.depth_maps[index % len(self)])
            depth = prepare(cv2.resize(depth_map, image.shape[1::-1]))
        log = [] if self.return_parameters else None
        lq = self.degrade(gt, rng, log, depth)
        lq = data.degradations.fit(lq, gt.shape[0] // self.scale, gt.shape[1] // self.scale)
        lq, gt = _to_tensor(lq), _to_tensor(gt)
        if self.deliver == 'float':
            lq, gt = lq.float().div_(255), gt.float().div_(255)
        item = {'lq': lq, 'gt': gt, 'lq_path': picture.path, 'gt_path': picture.path}
        if not self.training:
            item['name'] = self.names[index]
        if self.return_parameters:
            item['degradation'] = json.dumps(log)
        return item

    def _draw_preparation(self, size: tuple[int, int], rng: np.random.Generator,
                          picture: ImageSource) -> Callable[[np.ndarray], np.ndarray]:
        """Draw how a picture of this size is resized, cropped and flipped; ``scale`` divides the sides that result."""
        resized = height, width = _resized(size, self.resize)
        if self.gt_size is None:
            rows, columns = slice(height - height % self.scale), slice(width - width % self.scale)
        else:
            if min(height, width) < self.gt_size:
                raise ValueError(f'{picture} is {width}x{height}, smaller than gt_size {self.gt_size}: '
                                 f'lower gt_size, or set resize: {self.gt_size}')
            top, left = (rng.integers(length - self.gt_size, endpoint=True) for length in resized)
            rows, columns = slice(top, top + self.gt_size), slice(left, left + self.gt_size)
        flips = np.array((self.use_hflip, self.use_rot, self.use_rot))
        hflip, vflip, transpose = flips & (rng.random(3) < 0.5) if self.training else flips

        def prepare(image: np.ndarray) -> np.ndarray:
            image = data.degradations.fit(image, *resized)[rows, columns]
            if hflip:
                image = cv2.flip(image, 1)
            if vflip:
                image = cv2.flip(image, 0)
            return cv2.transpose(image) if transpose else image

        return prepare


def _match(pictures: list[ImageSource], dataroot: str | list[str] | None, backend: str) -> list[ImageSource] | None:
    """Find the depth map of every picture by its name."""
    if dataroot is None:
        return None
    by_name = {depth_map.stem: depth_map for depth_map in find_images(dataroot, backend, option='dataroot_depth')}
    for picture in pictures:
        if picture.stem not in by_name:
            raise ValueError(f'dataroot_depth has no depth map for {picture}')
    return [by_name[picture.stem] for picture in pictures]


def _resized(size: tuple[int, int], resize: int | list[int] | None) -> tuple[int, int]:
    """The (height, width) that the option ``resize`` makes of a picture's."""
    if resize is None:
        return size
    if isinstance(resize, int):
        return tuple(max(resize, round(length * resize / min(size))) for length in size)
    return tuple(resize)


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """Turn (H, W, C) into (C, H, W), both uint8."""
    planes = np.empty((image.shape[2], *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes))
    return torch.from_numpy(planes)


def _check_names(opt: dict[str, Any]) -> None:
    known = (*_OPTIONS, *_TRAINING_OPTIONS, *_HOST_OPTIONS)
    where = f"dataset {opt.get('name', 'without a name')}"
    for key in opt:
        if key not in known:
            raise ValueError(f'{where}: unknown option {key!r}{data.degradations.registry.did_you_mean(key, known)} '
                             f'It takes: {", ".join((*_OPTIONS, *_TRAINING_OPTIONS))}')
    for key in ('phase', 'dataroot_gt', 'degradation'):
        if opt.get(key) is None:
            raise ValueError(f'{where}: {key} is missing')
    if opt['phase'] != 'train' and (stray := [key for key in _TRAINING_OPTIONS if opt.get(key)]):
        raise ValueError(f'{where}: {", ".join(stray)} is for training; phase {opt["phase"]} takes whole pictures, as '
                         'float (resize: brings them to one size)')


def _check_sizes(gt_size: Any, resize: Any, scale: Any) -> None:
    def is_length(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value > 0

    if not is_length(scale):
        raise ValueError(f'scale takes a whole number from 1 up, not {scale!r}')
    if gt_size is not None and (not is_length(gt_size) or gt_size % scale):
        raise ValueError(f'gt_size takes a multiple of scale ({scale}), not {gt_size!r}')
    if resize is not None and not is_length(resize) and not (
            isinstance(resize, list) and len(resize) == 2 and all(map(is_length, resize))):
        raise ValueError(f'resize takes the length of the shorter side or [height, width], not {resize!r}')
