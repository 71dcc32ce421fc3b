"""The BasicSR model that trains HiFaceGAN.

Source of the optimisers and the schedule: Yang et al., arXiv 2005.05005, section 4.1.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from functools import reduce
from pathlib import Path
from typing import Any, NoReturn

import torch
from basicsr.archs import build_network
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from hifacegan_plugin.models.best_figures import BestFigures
from hifacegan_plugin.models.checkpoint_files import delete_unfinished
from hifacegan_plugin.models.checkpoints import Checkpoints
from hifacegan_plugin.models.divergence import DivergenceGuard
from hifacegan_plugin.models.ema import build_average, update_ema
from hifacegan_plugin.models.epoch import current_epoch
from hifacegan_plugin.models.fine_tuning import parameter_groups
from hifacegan_plugin.models.generator import configure_generator
from hifacegan_plugin.models.loss_reader import LossReader, can_read_late
from hifacegan_plugin.models.lr_scheduler import advance_schedules, build_scheduler
from hifacegan_plugin.models.objective import Objective
from hifacegan_plugin.models.optimizers import build_optimizer
from hifacegan_plugin.models.progressive import enter_phase
from hifacegan_plugin.models.restoring_model import RestoringModel
from hifacegan_plugin.models.resuming import check_lr_factors, resume_optimizers
from hifacegan_plugin.models.stop_signal import StopSignal, exit_status
from hifacegan_plugin.models.throughput import Throughput
from hifacegan_plugin.models.validation import log_figures
from hifacegan_plugin.schema.file import parse_training
from hifacegan_plugin.schema.section import find_problems
from hifacegan_plugin.schema.training import Train
from hifacegan_plugin.system.processes import explain_lost_peer, gather_from_all, without_exchange
from hifacegan_plugin.system.random_state import random_state, undisturbed_random_state

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

AMP_DTYPES = {None: None, 'none': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}
AT_THE_END = -1  # the iteration that BasicSR passes to save() at the end of a training


class HiFaceGANCSRModel(RestoringModel):
    """Trains and tests any generator of BasicSR's registry with HiFaceGAN's objective.

    docs/training.md lists the options under ``train``. At least one of the losses ``pixel_opt``, ``perceptual_opt`` and
    ``gan_opt`` is required. With ``gan_opt``, the discriminator ``network_d`` takes pairs of degraded and restored
    images.

    Args:
        opt: options of the experiment, as BasicSR's ``parse_options`` returns them.

    Raises:
        ValueError: options contradict each other, or a network or metric does not have an option.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        if self.is_train:
            self.init_training_settings()

    # ------------------------------------------------------------------------------------------------------- building

    def build_generator(self) -> nn.Module:
        """Build the generator; for training, configure it according to the options under ``train``."""
        network = super().build_generator()
        if self.is_train:
            self.train_options = parse_training(self.opt)
            configure_generator(network, self.train_options)
        return network

    def init_training_settings(self) -> None:
        """Build everything that only training needs: objective, discriminator, EMA, optimisers, schedules, helpers."""
        options = self.train_options
        for problem in find_problems(Train, self.opt['train'], 'train'):  # parse_training has raised errors before
            logger.warning(problem.what)
        self.lr_factors = options.lr_factors or {}
        self.milestones = options.progressive or []
        self.objective = Objective(options, self.device)
        self.objective.check_generator(self.get_bare_model(self.net_g))
        if self.objective.is_adversarial:
            self._build_discriminator()
        self.net_g.train()
        if options.ema_decay > 0:
            self.net_g_ema = build_average(self.get_bare_model(self.net_g), self.opt['network_g'], self.device)
            self.load_pretrained(self.net_g_ema, 'network_g', 'params_ema')
        self.amp_dtype = AMP_DTYPES[options.amp]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_dtype is torch.float16)
        self.setup_optimizers()
        self.setup_schedulers()
        self._build_helpers()
        self.iteration: int | None = None  # the last iteration, in this process or in the resumed checkpoint

    def _build_discriminator(self) -> None:
        network = build_network(self.opt['network_d'])
        if self.train_options.channels_last:
            network.to(memory_format=torch.channels_last)
        self.net_d = self.model_to_device(network)
        self.print_network(self.net_d)
        self.load_pretrained(self.net_d, 'network_d')
        self.net_d.train()

    def setup_optimizers(self) -> None:
        """Build the optimisers of the generator and, if it exists, the discriminator."""
        groups = {'g': parameter_groups(self.get_bare_model(self.net_g), self.lr_factors)}
        if self.objective.is_adversarial:
            groups['d'] = [{'params': list(self.net_d.parameters())}]
        for label, parameters in groups.items():
            section = f'optim_{label}'
            optimizer = build_optimizer(f'train: {section}', self.opt['train'][section], parameters)
            setattr(self, f'optimizer_{label}', optimizer)
            self.optimizers.append(optimizer)

    def setup_schedulers(self) -> None:
        """Build the learning rate schedule of each optimiser."""
        options = self.train_options
        self.schedulers = [
            build_scheduler(optimizer, options.scheduler.model_dump(), options.total_iter)
            for optimizer in self.optimizers
        ]

    def _build_helpers(self) -> None:
        """Build the objects that monitor the training and store its results."""
        options = self.train_options
        self.stop_signal = StopSignal()
        self.throughput = Throughput(options.total_iter, self.device)
        states = Path(self.opt['path']['training_states'])
        guard = DivergenceGuard(options.on_not_finite == 'stop', states.parent / 'not_finite', self.opt['rank'])
        trained = [self.get_bare_model(network) for network in self._trained_networks()]
        late = can_read_late(self.device, self.optimizers, options.accumulate_iters, self.scaler)
        self.losses = LossReader(guard, trained, late, self.opt.get('world_size', 1))
        self.best_figures = BestFigures(states / 'best_figures.json')
        self.checkpoints = Checkpoints(self.opt, options.keep_last or 0)
        if self.opt['rank'] == 0:
            delete_unfinished(self.checkpoints.models, self.checkpoints.states)

    def _trained_networks(self) -> list[nn.Module]:
        return [self.net_g, self.net_d] if self.objective.is_adversarial else [self.net_g]

    # ------------------------------------------------------------------------------------------------------ iterating

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch; see :meth:`RestoringModel.feed_data`."""
        super().feed_data(data)
        if self.is_train and self.train_options.channels_last:
            self.lq = self.lq.to(memory_format=torch.channels_last)

    @explain_lost_peer()
    def optimize_parameters(self, current_iter: int) -> None:
        """Update both networks from one forward pass of each.

        Raises:
            FloatingPointError: a loss is not finite and ``on_not_finite`` is ``stop``, or this happened too often.
            ConnectionError: another process of the training has ended.
            SystemExit: a signal requested to stop; a checkpoint was written.
            ValueError: the batch has no ground truth, or its size does not fit.
        """
        self.iteration = current_iter
        options = self.train_options
        update = (current_iter - 1) // options.accumulate_iters + 1
        is_first = (current_iter - 1) % options.accumulate_iters == 0
        is_last = current_iter % options.accumulate_iters == 0
        updates_g = update % options.net_d_iters == 0 and update > options.net_d_init_iters

        if is_first:
            if self.milestones:
                self._enter_phase(current_iter)
            self._forget_gradients()
        with nullcontext() if is_last else without_exchange(self._trained_networks()):
            losses = self._backward(updates_g, current_iter)
        batch = {'lq': self.lq, 'gt': self.gt, 'paths': list(self.paths)}
        is_finite, stop = self.losses.read(current_iter, losses, self.stop_requested(), batch)
        if not is_finite:
            self._forget_gradients()
        elif is_last:
            self._step(updates_g)
            if updates_g and options.ema_decay > 0:
                # A smaller decay at first, so that the average soon forgets the initial weights.
                decay = min(options.ema_decay, (1 + update) / (10 + update))
                update_ema(self.net_g_ema, self.get_bare_model(self.net_g), decay)
        self._log_throughput(current_iter)
        if stop and is_last:  # checkpoints do not store accumulated gradients
            self.save_and_exit(current_iter)

    def _enter_phase(self, current_iter: int) -> None:
        """Enter the phase of progressive training that the iteration belongs to."""
        network = self.get_bare_model(self.net_g)
        if enter_phase(network, current_iter, self.milestones, self.lr_factors):
            self.net_g = self.model_to_device(network)  # wraps it again, because other parameters are trained now
        if self.train_options.ema_decay > 0:
            self.net_g_ema.halvings = network.halvings

    def _forget_gradients(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def _backward(self, updates_g: bool, current_iter: int) -> dict[str, Tensor]:
        """Run both networks, accumulate their gradients and return the losses.

        The losses are computed from detached outputs of the generator. Their gradients with respect to these outputs
        are then backpropagated through the generator once. The discriminator runs once for both updates, because its
        weights do not change in between. The generator's losses add no gradients to the discriminator's weights.
        """
        if self.gt is None:
            raise ValueError('datasets: train: the images have no ground truth (gt): use another type of data set.')
        accumulate_iters = self.train_options.accumulate_iters
        with torch.autocast(self.device.type, self.amp_dtype, enabled=self.amp_dtype is not None):
            with torch.set_grad_enabled(updates_g):
                self.output, byproducts = self._generate()
            outputs = [self.output, *byproducts.values()]
            cut = [output.detach().float().requires_grad_(updates_g) for output in outputs]
            restored, known = cut[0], dict(zip(byproducts, cut[1:], strict=True))
            lq, gt = self.lq, self.gt
            if self.milestones:
                lq, gt = (F.interpolate(images, restored.shape[-2:], mode='area') for images in (lq, gt))
            net_d = self.net_d if self.objective.is_adversarial else None
            losses_g, losses_d = self.objective.compute(restored, known, lq, gt, net_d, current_iter)
        if updates_g:
            total = self.scaler.scale(reduce(torch.add, losses_g.values()) / accumulate_iters)
            gradients = torch.autograd.grad(
                total, cut, retain_graph=bool(losses_d), allow_unused=True, materialize_grads=True
            )
            torch.autograd.backward(
                outputs, [gradient.to(output.dtype) for gradient, output in zip(gradients, outputs, strict=True)]
            )
            self.output = self.output.detach()
        if losses_d:
            torch.autograd.backward(self.scaler.scale(reduce(torch.add, losses_d.values()) / (2 * accumulate_iters)))
        return {**(losses_g if updates_g else {}), **losses_d}

    def _generate(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the restored images and, if a loss needs them, the additional outputs of the generator by name."""
        if self.objective.takes_byproducts:
            return self.net_g(*self.inputs(), with_byproducts=True)
        return self.net_g(*self.inputs()), {}

    def _step(self, updates_g: bool) -> None:
        """Update the weights."""
        networks = {self.optimizer_g: self.net_g} if updates_g else {}
        if self.objective.is_adversarial:
            networks[self.optimizer_d] = self.net_d
        for optimizer, network in networks.items():
            self.losses.let_skip(optimizer)
            if self.train_options.grad_clip > 0:
                self.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(network.parameters(), self.train_options.grad_clip)
            self.scaler.step(optimizer)
        self.scaler.update()

    def _log_throughput(self, current_iter: int) -> None:
        """Log speed, memory and remaining time whenever BasicSR logs the losses."""
        self.throughput.count(len(self.lq) * self.opt.get('world_size', 1))
        if current_iter % self.opt['logger']['print_freq'] == 0:
            logger.info(self.throughput.line(current_iter))

    def get_current_log(self) -> dict[str, float]:
        """Return the losses of the last iteration, averaged over all processes. Synchronizes with the device."""
        return self.losses.of_last_iteration()

    # ----------------------------------------------------------------------------------- validating, saving, resuming

    @explain_lost_peer()
    @undisturbed_random_state()  # so that training does not depend on whether and when it validates
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
            self._write_checkpoint(current_epoch(), self.iteration)
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
        self.save(current_epoch(), current_iter)
        saved = gather_from_all(self.checkpoints.newest == current_iter)[0]  # only rank 0 writes
        raise SystemExit(exit_status(received) if saved else 1)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint. The networks were already loaded when they were built.

        Learning rates, betas and all other options come from the current options file.

        Raises:
            ValueError: the state does not fit the optimisers in the options.
        """
        check_lr_factors(self.get_bare_model(self.net_g), resume_state, self.lr_factors)
        resume_optimizers(self.optimizers, resume_state['optimizers'])
        self.iteration = self.checkpoints.newest = resume_state['iter']
        advance_schedules(self.update_learning_rate, self.iteration, self.train_options.warmup_iter)
        if resume_state.get('scaler'):  # empty if the checkpoint was written without fp16
            self.scaler.load_state_dict(resume_state['scaler'])
        self.best_figures.resume(self.iteration, resume_state.get('best_metric_results') or {})
