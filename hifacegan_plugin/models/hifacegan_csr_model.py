"""The BasicSR model that trains HiFaceGAN.

Source of the optimisers and the schedule: Yang et al., arXiv 2005.05005, section 4.1.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from functools import reduce
from typing import Any

import torch
from basicsr.archs import build_network
from torch import Tensor, nn
from torch.nn import functional as F

from hifacegan_plugin.models.divergence import DivergenceGuard
from hifacegan_plugin.models.ema import build_average, update_ema
from hifacegan_plugin.models.epoch import current_epoch
from hifacegan_plugin.models.fine_tuning import parameter_groups
from hifacegan_plugin.models.generator import configure_generator
from hifacegan_plugin.models.loss_reader import LossReader, can_read_late
from hifacegan_plugin.models.lr_scheduler import build_scheduler
from hifacegan_plugin.models.objective import Objective
from hifacegan_plugin.models.optimizers import build_optimizer
from hifacegan_plugin.models.progressive import enter_phase
from hifacegan_plugin.models.resumable_model import ResumableModel
from hifacegan_plugin.models.throughput import Throughput
from hifacegan_plugin.schema.file import parse_training
from hifacegan_plugin.schema.section import find_problems
from hifacegan_plugin.schema.training import Train
from hifacegan_plugin.system.processes import explain_lost_peer, without_exchange

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

AMP_DTYPES = {None: None, 'none': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}


class HiFaceGANCSRModel(ResumableModel):
    """Trains and tests any generator of BasicSR's registry with HiFaceGAN's objective.

    docs/training.md lists the options under ``train``. At least one of the losses ``pixel_opt``, ``perceptual_opt`` and
    ``gan_opt`` is required. With ``gan_opt``, the discriminator ``network_d`` takes pairs of degraded and restored
    images.

    Args:
        opt: options of the experiment, as BasicSR's ``parse_options`` returns them.

    Raises:
        ValueError: options contradict each other, or name a class, function or argument that does not exist.
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
        self.prepare_saving()
        self.throughput = Throughput(options.total_iter, self.device)
        self.losses = self._build_loss_reader()

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
        groups = parameter_groups(self.get_bare_model(self.net_g), self.lr_factors)
        self.optimizer_g = build_optimizer('train: optim_g', self.opt['train']['optim_g'], groups)
        self.optimizers.append(self.optimizer_g)
        if self.objective.is_adversarial:
            groups = [{'params': list(self.net_d.parameters())}]
            self.optimizer_d = build_optimizer('train: optim_d', self.opt['train']['optim_d'], groups)
            self.optimizers.append(self.optimizer_d)

    def setup_schedulers(self) -> None:
        """Build the learning rate schedule of each optimiser."""
        options = self.train_options
        self.schedulers = [
            build_scheduler(optimizer, options.scheduler.model_dump(), options.total_iter)
            for optimizer in self.optimizers
        ]

    def _build_loss_reader(self) -> LossReader:
        options = self.train_options
        folder = self.checkpoints.states.parent / 'not_finite'
        trained = [self.get_bare_model(network) for network in self._trained_networks()]
        guard = DivergenceGuard(options.on_not_finite == 'stop', folder, self.opt['rank'], trained)
        late = can_read_late(self.device, self.optimizers, options.accumulate_iters, self.scaler)
        return LossReader(guard, late, self.opt.get('world_size', 1))

    def _trained_networks(self) -> list[nn.Module]:
        return [self.net_g, self.net_d] if self.objective.is_adversarial else [self.net_g]

    # ------------------------------------------------------------------------------------------------------ iterating

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch; see :meth:`~hifacegan_plugin.models.restoring_model.RestoringModel.feed_data`."""
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
        self.iteration, self.epoch = current_iter, current_epoch()
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
                updates = update // options.net_d_iters - options.net_d_init_iters // options.net_d_iters
                decay = min(options.ema_decay, (1 + updates) / (10 + updates))
                update_ema(self.net_g_ema, self.get_bare_model(self.net_g), decay)
        self._log_throughput(current_iter)
        if stop and is_last:  # checkpoints do not store accumulated gradients
            self.save_and_exit(current_iter)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint and its phase of progressive training; errors as in the base class."""
        super().resume_training(resume_state)
        if self.milestones:
            self._enter_phase(resume_state['iter'])

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
            # Outputs of frozen parts have no gradient.
            trained = [pair for pair in zip(outputs, gradients, strict=True) if pair[0].requires_grad]
            torch.autograd.backward(
                [output for output, _ in trained], [gradient.to(output.dtype) for output, gradient in trained]
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
