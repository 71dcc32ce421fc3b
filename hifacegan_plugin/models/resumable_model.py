"""Validate, save, stop and resume a training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from hifacegan_plugin.models.best_figures import BestFigures
from hifacegan_plugin.models.checkpoint_files import delete_unfinished
from hifacegan_plugin.models.checkpoints import Checkpoints
from hifacegan_plugin.models.loss_reader import LossReader
from hifacegan_plugin.models.lr_scheduler import advance_schedules
from hifacegan_plugin.models.restoring_model import RestoringModel
from hifacegan_plugin.models.resuming import check_lr_factors, resume_optimizers
from hifacegan_plugin.models.stop_signal import StopSignal, exit_status
from hifacegan_plugin.models.validation import log_figures
from hifacegan_plugin.schema.training import Train
from hifacegan_plugin.system.processes import explain_lost_peer, gather_from_all
from hifacegan_plugin.system.random_state import random_state, undisturbed_random_state

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

AT_THE_END = -1  # the iteration that BasicSR passes to save() at the end of a training


class ResumableModel(RestoringModel):
    """Validates, saves, stops and resumes a training. A subclass builds the networks and updates them.

    Attributes:
        iteration: the last iteration, in this process or in the resumed checkpoint; None before the first.
        epoch: epoch of the last iteration, counted from 0. After the last one, the host's loop begins another epoch.
    """

    train_options: Train
    optimizers: list[Optimizer]
    schedulers: list[LRScheduler]
    scaler: torch.amp.GradScaler
    losses: LossReader

    def prepare_saving(self) -> None:
        """Install the signal handlers, and prepare the files of the best figures and checkpoints."""
        self.iteration: int | None = None
        self.epoch = 0
        self.stop_signal = StopSignal()
        self.best_figures = BestFigures(Path(self.opt['path']['training_states']) / 'best_figures.json')
        self.checkpoints = Checkpoints(self.opt, self.train_options.keep_last or 0)
        if self.opt['rank'] == 0:
            delete_unfinished(self.checkpoints.models, self.checkpoints.states)

    @explain_lost_peer()
    def nondist_validation(
        self, dataloader: DataLoader[Any], current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Restore a data set, compute ``val: metrics``, and log the values and the best values so far.

        Raises:
            ValueError: a metric needs ground truth that the data set does not have.
            RuntimeError: no image could be restored in a test.
            ConnectionError: another process of the training has ended.
            SystemExit: a signal requested to stop; a checkpoint was written.
        """
        if not self.is_train:
            super().nondist_validation(dataloader, current_iter, tb_logger, save_img)
            return
        # BasicSR increments current_iter once more before the last validation.
        iteration = int(current_iter) if self.iteration is None else self.iteration
        dataset: Any = dataloader.dataset
        with undisturbed_random_state():  # so that training does not depend on whether and when it validates
            figures = self.validator.run(dataset, iteration, tb_logger, save_img)
        if figures is None:
            self.save_and_exit(iteration)
        if not figures:
            return
        self.metric_results = figures
        directions = {metric.name: metric.better for metric in self.validator.metrics}
        name = dataset.opt['name']
        self.best_figures.update(name, figures, directions, iteration)
        log_figures(name, figures, self.best_figures.records[name], iteration, tb_logger)

    @explain_lost_peer()
    def save(self, epoch: int, current_iter: int) -> None:
        """Check the losses of the last iteration, then write a checkpoint if all weights are finite.

        At the end of the training (iteration -1), also write the last weights. The checkpoint allows to extend the
        training later.

        Raises:
            FloatingPointError: as in :meth:`optimize_parameters`.
            OSError: the last weights of the training cannot be written.
        """
        self.losses.finish()
        if current_iter != AT_THE_END:
            self._write_checkpoint(epoch, current_iter)
            return
        if self.iteration is not None:
            self._write_checkpoint(self.epoch, self.iteration)
        if self.opt['rank'] == 0:
            self.checkpoints.write_last_weights(self._networks())

    def _write_checkpoint(self, epoch: int, iteration: int) -> None:
        random_states = gather_from_all(random_state())
        if self.opt['rank'] > 0 or iteration == self.checkpoints.newest:
            return
        state = {
            'epoch': epoch,
            'iter': iteration,
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
            'scaler': self.scaler.state_dict(),
            'best_metric_results': self.best_figures.records,
            'random_states': random_states,
        }
        keep = self.best_figures.iterations(self.train_options.keep_best)
        self.checkpoints.write(iteration, self._networks(), state, keep)

    def _networks(self) -> dict[str, nn.Module]:
        """Return all unwrapped networks by name."""
        names = ('net_g', 'net_g_ema', 'net_d')
        return {name: self.get_bare_model(getattr(self, name)) for name in names if hasattr(self, name)}

    def stop_requested(self) -> bool:
        """Return whether this process received a signal to stop."""
        return self.is_train and self.stop_signal.came

    def save_and_exit(self, current_iter: int) -> NoReturn:
        """Write a checkpoint and exit. All processes call this after one of them received a signal.

        Raises:
            SystemExit: always; with status 1 if the checkpoint could not be written.
        """
        received = next(filter(None, gather_from_all(self.stop_signal.number)))
        logger.info(
            f'{received.name} at iteration {current_iter}: saving and exiting. --auto_resume continues from here.'
        )
        self.save(self.epoch, current_iter)
        saved = gather_from_all(self.checkpoints.newest == current_iter)[0]  # only rank 0 writes
        raise SystemExit(exit_status(received) if saved else 1)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint. The networks were already loaded when they were built.

        Learning rates, betas and all other options come from the current options file.

        Raises:
            ValueError: the state does not fit the optimisers in the options.
        """
        check_lr_factors(self.get_bare_model(self.net_g), resume_state, self.train_options.lr_factors or {})
        resume_optimizers(self.optimizers, resume_state['optimizers'])
        self.iteration = self.checkpoints.newest = resume_state['iter']
        self.epoch = resume_state['epoch']
        advance_schedules(self.update_learning_rate, self.iteration, self.train_options.warmup_iter)
        if resume_state.get('scaler'):  # empty if the checkpoint was written without fp16
            self.scaler.load_state_dict(resume_state['scaler'])
        self.best_figures.resume(self.iteration, resume_state.get('best_metric_results') or {})
