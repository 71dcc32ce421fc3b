"""Validation: restore a data set, measure it, save and show what was restored."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from basicsr.utils import imwrite
from basicsr.utils.dist_util import get_dist_info
from torch.utils.data import default_collate
from tqdm import tqdm

from hifacegan_plugin.images.sources import name_to_save
from hifacegan_plugin.metrics.metric import NAMED_AT_MOST, Metric, summarise
from hifacegan_plugin.system.processes import gather_from_all

logger = logging.getLogger('basicsr.hifacegan_plugin')

SHORT = 5  # seconds in which a validation needs no progress bar
MINUTE = 60  # seconds between two lines of progress in a file
IMAGES_TO_SHOW = 4  # of each validation set, drawn into TensorBoard

Images = dict[str, np.ndarray]  # uint8, BGR (H, W, 3) or grey (H, W): lq, result and, where it is known, gt
Restore = Callable[[dict[str, Any]], Images]


class ValidationSet(Protocol):
    """A data set with its options, as the host builds it.

    Its items hold ``lq``, perhaps ``gt``, both ``(C, H, W)`` in [0, 1], and ``lq_path``.
    """

    opt: dict[str, Any]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


class Validation:
    """Restores and measures data sets; every process does its share, and the figures are those of a single process.

    Args:
        opt: options of the experiment: ``val``, ``datasets``, ``name``, ``path: visualization`` and ``is_train``.
        metrics: what is measured.
        restore: restores a batch of one image.
        stop_requested: returns whether this process was asked to stop; called before each image.
    """

    def __init__(
        self, opt: Mapping[str, Any], metrics: Sequence[Metric], restore: Restore, stop_requested: Callable[[], bool]
    ) -> None:
        self.opt = opt
        self.metrics = metrics
        self.restore = restore
        self.stop_requested = stop_requested

    def run(
        self, dataset: ValidationSet, iteration: int | str, tb_logger: Any, save_img: bool
    ) -> dict[str, float] | None:
        """Return the figures of a data set by name of the metric; None if a process was asked to stop meanwhile.

        An image that cannot be read or restored, or that a metric fails on, is named and counted in the log.

        Args:
            dataset: images to restore.
            iteration: iteration of the training, or whatever else labels the figures.
            tb_logger: TensorBoard writer that shows the first images, or None.
            save_img: whether to write the restored images.

        Returns:
            The figures in the first process, nothing in the others.

        Raises:
            ValueError: a metric needs ground truth that the data set does not have.
            RuntimeError: in testing, no image could be restored.
        """
        name = dataset.opt['name']
        failures: list[str] = []
        for metric in self.metrics:
            metric.reset()
        for number, index in enumerate(self._share(dataset)):
            if self.stop_requested():
                break
            image_name = f'image {index}'
            try:
                item = dataset[index]
                image_name = name_to_save(item)
                images = self.restore(default_collate([item]))
            except Exception as error:  # a data set or a network of any author on an image: named, the rest goes on
                failures.append(f'{image_name} ({error or type(error).__name__})')
                continue
            if save_img:
                self._write(images['result'], self._result_path(name, image_name, iteration))
            if tb_logger and number < IMAGES_TO_SHOW:
                tb_logger.add_image(f'{name}/{image_name}', side_by_side(images), iteration, dataformats='HWC')
            for metric in self.metrics:
                metric.update(image_name, images['result'], images.get('gt'))
        if any(gather_from_all(self.stop_requested())):
            return None
        self._report_failures(dataset, list(chain(*gather_from_all(failures))))
        shares = gather_from_all([metric.state for metric in self.metrics])
        for metric, *states in zip(self.metrics, *shares):
            metric.merge(states)
        return {} if get_dist_info()[0] > 0 else summarise(self.metrics)

    def _share(self, dataset: ValidationSet) -> Iterable[int]:
        """Iterate over the indices of this process's share, with a progress bar in the first one."""
        rank, world_size = get_dist_info()
        return tqdm(
            range(rank, len(dataset), world_size),
            f'Validating {dataset.opt["name"]}',
            unit='image',
            delay=SHORT,
            mininterval=1 if sys.stderr.isatty() else MINUTE,
            disable=rank > 0 or not self.opt['val'].get('pbar', True),
        )

    def _report_failures(self, dataset: ValidationSet, failures: list[str]) -> None:
        """Name and count in the log the images that could not be restored.

        Raises:
            RuntimeError: in testing, if none could be restored; a training goes on.
        """
        if not failures:
            return
        more = '; ...' if len(failures) > NAMED_AT_MOST else ''
        message = (
            f'{dataset.opt["name"]}: {len(failures)} of {len(dataset)} images could not be restored: '
            f'{"; ".join(failures[:NAMED_AT_MOST])}{more}'
        )
        if len(failures) == len(dataset) and not self.opt['is_train']:
            raise RuntimeError(message)
        logger.warning(message)

    def _write(self, image: np.ndarray, path: Path) -> None:
        """Write a restored image; a training goes on if that fails, a test does not."""
        try:
            imwrite(image, str(path))
        except OSError as error:
            if not self.opt['is_train']:
                raise
            logger.error(f'{path} cannot be written ({error}). Training goes on.')

    def _result_path(self, dataset_name: str, image_name: str, iteration: int | str) -> Path:
        """Return the host's path of a restored image; in training, several validation sets get a folder each."""
        folder = Path(self.opt['path']['visualization'])
        if self.opt['is_train']:
            if sum(options['phase'] == 'val' for options in self.opt['datasets'].values()) > 1:
                folder /= dataset_name
            return folder / image_name / f'{image_name}_{iteration}.png'
        return folder / dataset_name / f'{image_name}_{self.opt["val"].get("suffix") or self.opt["name"]}.png'


def log_figures(
    dataset_name: str,
    figures: Mapping[str, float],
    best: Mapping[str, Mapping[str, Any]],
    iteration: int | str,
    tb_logger: Any,
) -> None:
    """Log the figures of a data set in the host's format, and draw them into TensorBoard.

    Args:
        dataset_name: name of the data set.
        figures: figures by name of the metric.
        best: best figure so far (``val``) and its iteration (``iter``) by name of the metric; may lack some.
        iteration: iteration of the figures.
        tb_logger: TensorBoard writer, or None.
    """
    lines = [f'Validation {dataset_name}']
    for metric, value in figures.items():
        record = best.get(metric)
        lines.append(
            f'\t # {metric}: {value:.4f}' + (f'\tBest: {record["val"]:.4f} @ {record["iter"]} iter' if record else '')
        )
        if tb_logger:
            tb_logger.add_scalar(f'metrics/{dataset_name}/{metric}', value, iteration)
    logger.info('\n'.join(lines))


def side_by_side(images: Images) -> np.ndarray:
    """Return the degraded and the restored image and, where it is known, the ground truth in a row, RGB (H, W, 3)."""
    size = images['result'].shape[1::-1]
    shown = [
        cv2.resize(images[name], size, interpolation=cv2.INTER_NEAREST)
        for name in ('lq', 'result', 'gt')
        if name in images
    ]
    row = np.hstack(shown)
    return cv2.cvtColor(row, cv2.COLOR_GRAY2RGB if row.ndim == 2 else cv2.COLOR_BGR2RGB)
