"""Validation: restore a data set, compute metrics, save and show the restored images."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

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

SHORT = 5  # seconds; a shorter validation shows no progress bar
MINUTE = 60  # seconds between updates of the progress bar in a log file
IMAGES_TO_SHOW = 4  # number of images of each validation set in TensorBoard

Images = dict[str, np.ndarray]  # lq, result and, if known, gt: uint8, BGR (H, W, 3) or grey (H, W)
Restore = Callable[[dict[str, Any]], Images]


class Validation:
    """Restores data sets and computes metrics. Each process validates a part; the values do not depend on their number.

    Args:
        opt: options of the experiment: ``val``, ``datasets``, ``name``, ``path: visualization`` and ``is_train``.
        metrics: metrics to compute.
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

    def run(self, dataset: Any, iteration: int | str, tb_logger: Any, save_img: bool) -> dict[str, float] | None:
        """Validate on a data set.

        Images that cannot be read or restored, or that a metric fails on, are reported in the log.

        Args:
            dataset: a BasicSR data set; its items have ``lq_path``, ``lq`` and optionally ``gt``, ``(C, H, W)``.
            iteration: iteration of the training, or another label of the values.
            tb_logger: TensorBoard writer for the first images, or None.
            save_img: whether to write the restored images.

        Returns:
            The values by name of the metric; an empty dictionary in processes other than the first; None if a process
            was asked to stop.

        Raises:
            ValueError: a metric needs ground truth that the data set does not have.
            RuntimeError: no image could be restored in a test.
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
            except Exception as error:  # third-party data sets and networks may raise anything
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

    def _share(self, dataset: Any) -> Iterable[int]:
        """Iterate over the indices of this process's part; the first process shows a progress bar."""
        rank, world_size = get_dist_info()
        return tqdm(
            range(rank, len(dataset), world_size),
            f'Validating {dataset.opt["name"]}',
            unit='image',
            delay=SHORT,
            mininterval=1 if sys.stderr.isatty() else MINUTE,
            disable=rank > 0 or not self.opt['val'].get('pbar', True),
        )

    def _report_failures(self, dataset: Any, failures: list[str]) -> None:
        """Log the names and the number of images that could not be restored.

        Raises:
            RuntimeError: no image could be restored in a test. Trainings continue.
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
        """Write a restored image. A training continues if this fails; a test does not."""
        try:
            imwrite(image, str(path))
        except OSError as error:
            if not self.opt['is_train']:
                raise
            logger.error(f'{path} cannot be written ({error}). Training continues.')

    def _result_path(self, dataset_name: str, image_name: str, iteration: int | str) -> Path:
        """Return the path of a restored image as in BasicSR; in training, each of several sets gets its own folder."""
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
    """Log the values of a data set in BasicSR's format, and write them to TensorBoard.

    Args:
        dataset_name: name of the data set.
        figures: values by name of the metric.
        best: best value so far (``val``) and its iteration (``iter``) by name of the metric; metrics may be missing.
        iteration: iteration of the validation.
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
    """Return the degraded image, the restored image and, if known, the ground truth in a row, ``(H, W, 3)``, RGB."""
    size = images['result'].shape[1::-1]
    shown = [
        cv2.resize(images[name], size, interpolation=cv2.INTER_NEAREST)
        for name in ('lq', 'result', 'gt')
        if name in images
    ]
    row = np.hstack(shown)
    return cv2.cvtColor(row, cv2.COLOR_GRAY2RGB if row.ndim == 2 else cv2.COLOR_BGR2RGB)
