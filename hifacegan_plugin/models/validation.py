"""Validation: restore a data set, measure it, draw it into TensorBoard."""

from __future__ import annotations

import sys
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils import imwrite, tensor2img
from basicsr.utils.dist_util import get_dist_info
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm import tqdm

from hifacegan_plugin.images.sources import name_to_save
from hifacegan_plugin.metrics.catalogue import direction
from hifacegan_plugin.metrics.measure import NAMED_AT_MOST, Meter, logger
from hifacegan_plugin.models.lost_process import explain_lost_process
from hifacegan_plugin.system.random_state import undisturbed_random_state

SHORT = 5  # seconds in which a validation needs no progress bar
MINUTE = 60  # seconds between two lines of progress in a file
PICTURES_TO_WATCH = 4  # of each validation set, drawn into TensorBoard: degraded, restored, true


class Validation(SRModel):
    """What the host's loops call to validate and to test; each process does its share."""

    def test(self) -> None:
        """Restore ``self.lq`` with the averaged generator, or the trained one if there is no average."""
        network = getattr(self, 'net_g_ema', None) or self.get_bare_model(self.net_g)
        was_training = network.training
        network.eval()
        with torch.no_grad():
            self.output = network(self.lq)
        network.train(was_training)

    def dist_validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """Restore and measure a data set, every process its share; the figures are those of a single process."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    @explain_lost_process
    @undisturbed_random_state()  # whether a training that was resumed validates or not, it draws the same
    def nondist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Restore a data set, measure it with ``val: metrics``, log the figures and the best so far.

        A picture that cannot be read or restored, or that a metric fails on, is named and counted in the log.

        Raises:
            ValueError: a metric needs true pictures that the data set does not give.
            RuntimeError: in testing, no picture could be restored.
            SystemExit: a signal asked the training to stop; a checkpoint was written.
        """
        if self.is_train:  # the host counts on before it validates for the last time
            current_iter = min(current_iter, int(self.opt['train'].get('total_iter', current_iter)))
        dataset, val_opt = dataloader.dataset, self.opt['val']
        rank, world_size = get_dist_info()
        meter, measurements, failures = Meter(val_opt.get('metrics') or {}), [], []
        share = tqdm(range(rank, len(dataset), world_size), f'Validating {dataset.opt["name"]}', unit='image',
                     delay=SHORT, mininterval=1 if sys.stderr.isatty() else MINUTE,
                     disable=rank > 0 or not val_opt.get('pbar', True))
        for number, index in enumerate(share):
            if self.is_train and self.stop_signal.came:
                break
            image_name = f'picture {index}'
            try:
                item = dataset[index]
                image_name = name_to_save(item)
                pictures = self._restore(default_collate([item]))
            except Exception as error:  # a data set or a network of any author on a picture: named, the rest goes on
                failures.append(f'{image_name} ({error or type(error).__name__})')
                continue
            if save_img:
                path = self._result_path(dataset.opt['name'], image_name, current_iter)
                self._write_picture(pictures['result'], path)
            if tb_logger and number < PICTURES_TO_WATCH:
                tag = f'{dataset.opt["name"]}/{image_name}'
                tb_logger.add_image(tag, _side_by_side(pictures), current_iter, dataformats='HWC')
            measurements.append(meter.measure(image_name, pictures['result'], pictures.get('gt')))
        if self.is_train and any(self.of_all_processes(self.stop_signal.came)):
            self.leave(current_iter)
        failures = list(chain(*self.of_all_processes(failures)))
        self._report_failures(dataset, failures)
        shares = self.of_all_processes(measurements)
        if rank == 0 and meter.metrics:
            self._log_figures(dataset.opt['name'], meter.summarise(chain(*shares)), current_iter, tb_logger)

    def _restore(self, data: dict[str, Any]) -> dict[str, np.ndarray]:
        """Restore a batch of one picture; give ``lq``, ``result`` and, if there is one, ``gt``, uint8 BGR or grey.

        Raises:
            ValueError: the network gives NaN or infinite values.
        """
        self.feed_data(data)
        self.test()
        visuals = self.get_current_visuals()
        if 'gt' not in data:
            visuals.pop('gt', None)  # that of the last training batch
        for name in ('lq', 'output', 'gt'):
            vars(self).pop(name, None)
        if not visuals['result'].isfinite().all():
            raise ValueError('the network gives NaN or infinite values')
        return {name: tensor2img(picture) for name, picture in visuals.items()}

    def _report_failures(self, dataset: Dataset, failures: list[str]) -> None:
        """Name and count in the log the pictures that could not be restored.

        Raises:
            RuntimeError: in testing, those are all there are; a training goes on.
        """
        if not failures:
            return
        more = '; ...' if len(failures) > NAMED_AT_MOST else ''
        message = (f'{dataset.opt["name"]}: {len(failures)} of {len(dataset)} pictures could not be restored: '
                   f'{"; ".join(failures[:NAMED_AT_MOST])}{more}')
        if len(failures) == len(dataset) and not self.is_train:
            raise RuntimeError(message)
        logger.warning(message)

    def _initialize_best_metric_results(self, dataset_name: str) -> None:
        """Let the host keep the best figures of every metric, of those too that a resumed training did not have.

        The host takes higher for better where the options do not say.
        """
        self.best_metric_results = getattr(self, 'best_metric_results', {})
        record = self.best_metric_results.setdefault(dataset_name, {})
        for name, options in self.opt['val']['metrics'].items():
            better = options.setdefault('better', direction(options))
            record.setdefault(name, {'better': better, 'val': -inf if better == 'higher' else inf, 'iter': -1})

    def _log_figures(
        self, dataset_name: str, figures: dict[str, float], current_iter: int | str, tb_logger: Any
    ) -> None:
        """Log the figures of a data set by the host's own mechanism, which keeps the best."""
        self.metric_results = figures
        self._initialize_best_metric_results(dataset_name)
        for metric, value in figures.items():
            self._update_best_metric_result(dataset_name, metric, value, current_iter)
        if self.is_train:
            self.save_best_figures()
        self._log_validation_metric_values(current_iter, dataset_name, tb_logger)

    def _write_picture(self, picture: np.ndarray, path: Path) -> None:
        """Write a restored picture; a training goes on where that fails, a test does not."""
        try:
            imwrite(picture, str(path))
        except OSError as error:
            if not self.is_train:
                raise
            logger.error(f'{path} cannot be written ({error}). Training goes on.')

    def _result_path(self, dataset_name: str, image_name: str, current_iter: int | str) -> Path:
        """Name the file of a restored picture as the host does, which forgets that validation sets may be several."""
        folder = Path(self.opt['path']['visualization'])
        if self.is_train:
            if sum(options['phase'] == 'val' for options in self.opt['datasets'].values()) > 1:
                folder /= dataset_name
            return folder / image_name / f'{image_name}_{current_iter}.png'
        return folder / dataset_name / f'{image_name}_{self.opt["val"].get("suffix") or self.opt["name"]}.png'


def _side_by_side(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Lay degraded, restored and, if there is one, true image side by side; BGR or grey in, RGB ``(H, W, 3)`` out."""
    size = pictures['result'].shape[1::-1]
    shown = [cv2.resize(pictures[name], size, interpolation=cv2.INTER_NEAREST)
             for name in ('lq', 'result', 'gt') if name in pictures]
    row = np.hstack(shown)
    return cv2.cvtColor(row, cv2.COLOR_GRAY2RGB if row.ndim == 2 else cv2.COLOR_BGR2RGB)
