"""The training of HiFaceGAN as the host's training loop drives it.

Objective, optimisers and schedule: Yang et al., arXiv 2005.05005, section 3.4 and 4.1.
"""

from __future__ import annotations

import logging
import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.losses.gan_loss import GANLoss
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from hifacegan_plugin.images.channels import channels_of, with_channels
from hifacegan_plugin.metrics.measure import check_metric
from hifacegan_plugin.models.checkpoint_files import delete_unfinished, write_checkpoint
from hifacegan_plugin.models.checkpoints import Checkpoints, is_finite
from hifacegan_plugin.models.fine_tuning import freeze_parts, parameter_groups, read_lr_factors
from hifacegan_plugin.models.loss_schedule import check_loss_weight_schedule, factor_at
from hifacegan_plugin.models.lost_process import explain_lost_process
from hifacegan_plugin.models.lr_scheduler import build_scheduler
from hifacegan_plugin.models.moving_average import move_average
from hifacegan_plugin.models.option_checks import check_channels, check_keep_best, check_network_options, choose, number
from hifacegan_plugin.models.progress import Progress
from hifacegan_plugin.models.progressive import check_progressive, halvings_at, set_phase
from hifacegan_plugin.models.sent_losses import SentLosses
from hifacegan_plugin.models.stop_signal import StopSignal
from hifacegan_plugin.models.validation import Validation
from hifacegan_plugin.system.memory import keep_freed_memory

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

AMP_DTYPES = {'none': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}
ON_NOT_FINITE = {'stop': 'stop', 'skip': 'skip'}
DIVERGED_AFTER = 100  # batches in a row whose loss is not finite
BATCHES_TO_STUDY = 10  # of each process, that are written
Outputs = Tensor | list['Outputs']  # of a discriminator: one map, one of each scale, or those of all its layers
LOSSES = ('pixel_opt', 'perceptual_opt', 'gan_opt', 'feature_matching_opt')


class HiFaceGANCSRModel(Checkpoints, Validation):
    """Trains and tests any generator of the host's registry with HiFaceGAN's objective.

    The options under ``train`` are listed in docs/training.md. All losses (``pixel_opt``, ``perceptual_opt``,
    ``gan_opt``, ``feature_matching_opt``) are optional, one is needed. With ``gan_opt``, ``network_d`` judges pairs of
    degraded and restored picture.

    Raises:
        ValueError: for options that contradict each other or are not known to the network or metric that they are for.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        for section in ('network_g', 'network_d'):
            if opt.get(section):
                check_network_options(section, opt[section])
        for name, metric in ((opt.get('val') or {}).get('metrics') or {}).items():
            check_metric(name, metric)
        super().__init__(opt)
        if self.device.type == 'cpu':
            keep_freed_memory()

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move a network to its device and wrap it; in training, as the options under ``train`` ask."""
        if self.is_train:
            if net is self.net_g:
                self._prepare_generator(net)
            if self.opt['train'].get('channels_last', False):
                net = net.to(memory_format=torch.channels_last)
        return super().model_to_device(net)

    def _prepare_generator(self, network: nn.Module) -> None:
        """Let the generator grow, freeze parts of it and save memory, as the options under ``train`` ask."""
        train_opt = self.opt['train']
        self.lr_factors = read_lr_factors(train_opt)
        freeze_parts(network, self.lr_factors)
        self.milestones = train_opt.get('progressive') or []
        if self.milestones:
            check_progressive(network, self.milestones)
            network.add_coarse_outputs()
            set_phase(network, halvings_at(1, self.milestones), self.lr_factors)
        if train_opt.get('gradient_checkpointing', False):
            if not hasattr(network, 'gradient_checkpointing'):
                raise ValueError(f'train: gradient_checkpointing: {type(network).__name__} does not support it.')
            network.gradient_checkpointing = True
        if train_opt.get('compile', False):
            if getattr(network, 'gradient_checkpointing', False):
                raise ValueError('train: compile and gradient_checkpointing do not work together: choose one.')
            network.compile()  # in place: the keys of the weights stay

    def init_training_settings(self) -> None:
        """Build what only training needs: discriminator, moving average, losses, optimisers, schedules."""
        train_opt = self.opt['train']
        check_keep_best(self.opt)
        self.loss_schedule = train_opt.get('loss_weight_schedule') or {}
        check_loss_weight_schedule(self.loss_schedule, [name for name in LOSSES if train_opt.get(name)])
        self.cri_pix = self._build_loss('pixel_opt')
        self.cri_perceptual = self._build_loss('perceptual_opt')
        self.cri_gan = self._build_loss('gan_opt')
        self.cri_feat = self._build_loss('feature_matching_opt')
        if not (self.cri_pix or self.cri_perceptual or self.cri_gan):
            raise ValueError('train: set at least one of pixel_opt, perceptual_opt and gan_opt.')
        if self.cri_feat and not self.cri_gan:
            raise ValueError(
                'train: feature_matching_opt needs gan_opt, which trains the discriminator whose features are '
                'matched (gan_opt: loss_weight: 0 trains it without steering the generator by its judgement).'
            )
        if self.cri_gan:
            if not self.opt.get('network_d'):
                raise ValueError('train: gan_opt needs a discriminator: add network_d to the options file.')
            check_channels(self.opt)
            self.net_d = self.model_to_device(build_network(self.opt['network_d']))
            self.print_network(self.net_d)
            self._load_pretrained(self.net_d, 'network_d')
            self.net_d.train()
        self.net_d_iters = number('net_d_iters', train_opt.get('net_d_iters', 1), at_least=1, kind=int)
        self.net_d_init_iters = number('net_d_init_iters', train_opt.get('net_d_init_iters', 0), at_least=0)

        self.net_g.train()
        self.ema_decay = number('ema_decay', train_opt.get('ema_decay', 0), at_least=0)
        if self.ema_decay > 0:
            self.net_g_ema = build_network(self.opt['network_g'])
            if self.milestones:
                self.net_g_ema.add_coarse_outputs()
            self.net_g_ema.to(self.device)
            self.net_g_ema.load_state_dict(self.get_bare_model(self.net_g).state_dict())
            self._load_pretrained(self.net_g_ema, 'network_g', 'params_ema')
            self.net_g_ema.eval().requires_grad_(False)

        self.accumulate_iters = number('accumulate_iters', train_opt.get('accumulate_iters', 1), at_least=1, kind=int)
        self.grad_clip = number('grad_clip', train_opt.get('grad_clip', 0), at_least=0)
        self.amp_dtype = choose('amp', train_opt.get('amp') or 'none', AMP_DTYPES)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_dtype is torch.float16)
        self.on_not_finite = choose('on_not_finite', train_opt.get('on_not_finite', 'stop'), ON_NOT_FINITE)
        self.not_finite_in_a_row = 0
        self.setup_optimizers()
        self.setup_schedulers()
        # Waiting for the losses of every iteration would leave a GPU idle until the next one is launched.
        fused = all(optimizer.defaults.get('fused') for optimizer in self.optimizers)
        self.reads_late = self.device.type == 'cuda' and fused and self.accumulate_iters == 1 and (
            self.amp_dtype is not torch.float16)
        self.sent: SentLosses | None = None  # of the last iteration, not read yet
        self.stop_signal = StopSignal()
        self.progress = Progress(int(train_opt.get('total_iter', 0)), self.device)
        if self.opt['rank'] == 0:
            delete_unfinished(*self._checkpoint_folders())

    def setup_optimizers(self) -> None:
        """Build the optimiser of the generator and, where there is one, of the discriminator."""
        groups = {'g': parameter_groups(self.get_bare_model(self.net_g), self.lr_factors)}
        if self.cri_gan:
            groups['d'] = [{'params': list(self.net_d.parameters())}]
        for label, parameters in groups.items():
            options = dict(self.opt['train'][f'optim_{label}'])
            kind = options.pop('type')
            for group in parameters:
                group['lr'] = options['lr'] * group.pop('factor', 1)
            if kind in ('Adam', 'AdamW'):
                options.setdefault('fused', True)  # one kernel for all parameters, on CPUs as on GPUs
            optimizer = self.get_optimizer(kind, parameters, **options)
            setattr(self, f'optimizer_{label}', optimizer)
            self.optimizers.append(optimizer)

    def setup_schedulers(self) -> None:
        """Build the schedule of each optimiser's learning rates."""
        train_opt = self.opt['train']
        self.schedulers = [
            build_scheduler(optimizer, train_opt['scheduler'], int(train_opt.get('total_iter', 0)))
            for optimizer in self.optimizers
        ]

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch: ``lq`` and, for training, ``gt``, ``(N, C, H, W)``, in [0, 1] or uint8, which is scaled.

        Where the network takes grey images and the batch is RGB, it is given their luma; the other way round, three
        equal channels.
        """
        super().feed_data({key: self._on_device(value) for key, value in data.items()})
        channels = channels_of(self.opt['network_g'])
        self.lq = with_channels(_in_unit_range(self.lq), channels)
        if 'gt' in data:
            self.gt = with_channels(_in_unit_range(self.gt), channels)
        self.paths = data.get('lq_path', [])
        if self.is_train and self.opt['train'].get('channels_last', False):
            self.lq = self.lq.to(memory_format=torch.channels_last)

    def _on_device(self, value: Any) -> Any:
        """Move images to the device, without waiting where their memory is pinned."""
        if not isinstance(value, Tensor):
            return value
        value = value.to(self.device, non_blocking=True)
        if value.is_cuda:  # the host's prefetcher copies in a stream of its own, which may not reuse the memory yet
            value.record_stream(torch.cuda.current_stream())
        return value

    @explain_lost_process
    def optimize_parameters(self, current_iter: int) -> None:
        """Update both networks from one forward pass of each.

        Raises:
            FloatingPointError: a loss is not finite and ``on_not_finite`` is ``stop``, or many in a row were not.
            SystemExit: a signal asked to stop; a checkpoint was written.
        """
        self.iteration = current_iter
        update = (current_iter - 1) // self.accumulate_iters + 1
        is_last = current_iter % self.accumulate_iters == 0
        updates_g = update % self.net_d_iters == 0 and update > self.net_d_init_iters

        if (current_iter - 1) % self.accumulate_iters == 0:
            self._grow(current_iter)
            for optimizer in self.optimizers:
                optimizer.zero_grad()
        with self._exchanging_gradients(is_last):
            losses = self._backward(updates_g, current_iter)
        previous, self.sent = self.sent, self._send(losses)
        if self.reads_late:
            is_finite_loss, stop = True, previous is not None and self._receive(previous)[1]
        else:
            is_finite_loss, stop = self._receive(self.sent)
        if not is_finite_loss:
            for optimizer in self.optimizers:
                optimizer.zero_grad()
        elif is_last:
            self._step(updates_g)
            if updates_g and self.ema_decay > 0:
                self.model_ema(min(self.ema_decay, (1 + update) / (10 + update)))
        self._tell_progress(current_iter)
        if stop and is_last:  # gathered gradients are not saved
            self.leave(current_iter)

    def _grow(self, current_iter: int) -> None:
        """Enter the phase of progressive training that an iteration lies in."""
        halvings = halvings_at(current_iter, self.milestones)
        network = self.get_bare_model(self.net_g)
        if self.milestones and halvings != network.halvings:
            logger.info(f'Iteration {current_iter}: the generator grows to 1/{2**halvings} of the size.')
            set_phase(network, halvings, self.lr_factors)
            self.net_g = super().model_to_device(network)  # other parameters have gradients to exchange now
        if self.milestones and self.ema_decay > 0:
            self.net_g_ema.halvings = halvings

    def _tell_progress(self, current_iter: int) -> None:
        """Log speed, memory and time left as often as the host logs the losses."""
        self.progress.count(len(self.lq) * self.opt.get('world_size', 1))
        if current_iter % self.opt['logger']['print_freq'] == 0:
            logger.info(self.progress.line(current_iter))

    def _backward(self, updates_g: bool, current_iter: int) -> dict[str, Tensor]:
        """Run both networks and gather the gradients; give the losses.

        The restored picture is cut out of the generator's graph: the losses' gradient is gathered there and sent
        through the generator once. The same pass of the discriminator serves both updates, because its weights do not
        change in between; the generator's part of it computes no gradients of the discriminator's weights.
        """
        with torch.autocast(self.device.type, self.amp_dtype, enabled=self.amp_dtype is not None):
            with torch.set_grad_enabled(updates_g):
                self.output = self.net_g(self.lq)
            restored = self.output.detach().float().requires_grad_(updates_g)
            losses_g, losses_d = self._losses(restored, current_iter)
        if updates_g:
            total = self.scaler.scale(sum(losses_g.values()) / self.accumulate_iters)
            (gradient,) = torch.autograd.grad(total, restored, retain_graph=bool(losses_d))
            self.output.backward(gradient.to(self.output.dtype))
            self.output = self.output.detach()
        if losses_d:
            self.scaler.scale(sum(losses_d.values()) / (2 * self.accumulate_iters)).backward()
        return {**(losses_g if updates_g else {}), **losses_d}

    def _step(self, updates_g: bool) -> None:
        """Let the optimisers step."""
        networks = {self.optimizer_g: self.net_g} if updates_g else {}
        if self.cri_gan:
            networks[self.optimizer_d] = self.net_d
        for optimizer, network in networks.items():
            if self.reads_late:
                optimizer.found_inf = self.sent.not_finite  # a fused step is left out on the device where it is 1
            if self.grad_clip > 0:
                self.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(network.parameters(), self.grad_clip)
            self.scaler.step(optimizer)
        self.scaler.update()

    def _exchanging_gradients(self, exchange: bool) -> ExitStack:
        """While gradients accumulate, keep processes from exchanging them before the last backward pass."""
        stack = ExitStack()
        networks = [self.net_g, self.net_d] if self.cri_gan else [self.net_g]
        for network in networks:
            if not exchange and isinstance(network, DistributedDataParallel):
                stack.enter_context(network.no_sync())
        return stack

    def _send(self, losses: dict[str, Tensor]) -> SentLosses:
        """Average the losses over all processes, and whether they were asked to stop; start copying them here."""
        asked = torch.full((), float(self.stop_signal.came), device=self.device)
        values = torch.stack([*(loss.detach().float() for loss in losses.values()), asked])
        if self.opt['dist']:
            torch.distributed.all_reduce(values)
            values /= self.opt['world_size']
        batch = {'lq': self.lq, 'gt': self.gt, 'paths': list(self.paths)}
        return SentLosses(self.iteration, tuple(losses), values, batch)

    def _receive(self, sent: SentLosses) -> tuple[bool, bool]:
        """Wait for the losses of an iteration; tell whether they are finite, and whether a process was asked to stop.

        Raises:
            FloatingPointError: as :meth:`optimize_parameters`.
        """
        losses, stop = sent.read()
        self.log_dict = losses
        if all(map(math.isfinite, losses.values())):
            self.not_finite_in_a_row = 0
            return True, stop
        self.not_finite_in_a_row += 1
        self._set_batch_aside(sent, losses)
        self.log_dict = {}
        return False, stop

    def get_current_log(self) -> dict[str, float]:
        """Return the losses of the last iteration, averaged over all processes; waits for the device."""
        if self.reads_late and self.sent is not None:
            self.log_dict = self.sent.read()[0]
        return self.log_dict

    def save(self, epoch: int, current_iter: int) -> None:
        """Write a checkpoint, once it is known that the last losses were finite."""
        if self.reads_late and self.sent is not None:
            self._receive(self.sent)
            self.sent = None
        super().save(epoch, current_iter)

    def _set_batch_aside(self, sent: SentLosses, losses: dict[str, float]) -> None:
        """Write the batch whose loss is not finite for study; stop, or leave it out of the training.

        The losses are those of all processes, so that all do the same.
        """
        message = f'Iteration {sent.iteration}: a loss is not finite ({losses}). {self._write_batch(sent, losses)}'
        go_back = 'Go on from the last checkpoint, with a lower learning rate or train: grad_clip.'
        networks = [self.net_g, self.net_d] if self.cri_gan else [self.net_g]
        if not all(map(is_finite, networks)):
            raise FloatingPointError(f'{message} The weights are not finite any more. {go_back}')
        if self.not_finite_in_a_row == DIVERGED_AFTER:
            raise FloatingPointError(f'{message} These are {DIVERGED_AFTER} in a row. {go_back}')
        if self.on_not_finite == 'stop':
            raise FloatingPointError(
                f'{message} Lower the learning rate or set train: grad_clip; train: on_not_finite: skip goes on.'
            )
        logger.warning(f'{message} It is left out.')

    def _write_batch(self, sent: SentLosses, losses: dict[str, float]) -> str:
        """Write the batch for study, if not many are there already; tell in a sentence where it is."""
        folder = Path(self.opt['path']['training_states']).parent / 'not_finite'
        of_this_process = f'_rank{self.opt["rank"]}.pth'
        if len(list(folder.glob(f'*{of_this_process}'))) >= BATCHES_TO_STUDY:
            return f'Its batch is not written: {folder} has {BATCHES_TO_STUDY} already.'
        try:
            folder.mkdir(parents=True, exist_ok=True)  # other machines have no folder of the experiment yet
            write_checkpoint({**sent.batch, 'losses': losses}, folder / f'{sent.iteration}{of_this_process}')
        except OSError as error:
            return f'Its batch cannot be written ({error}).'
        return f'Its batch is in {folder}.'

    def _losses(self, restored: Tensor, current_iter: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Compute the terms of the generator's and of the discriminator's objective; weights are applied.

        Raises:
            ValueError: ``gan_opt`` or ``feature_matching_opt`` does not take what ``network_d`` gives.
        """
        losses_g, losses_d = {}, {}
        lq, gt = self.lq, self.gt
        if self.milestones:
            lq, gt = (F.interpolate(pictures, restored.shape[-2:], mode='area') for pictures in (lq, gt))
        if self.cri_pix:
            losses_g['pixel_opt'] = {'l_g_pix': self.cri_pix(restored, gt)}
        if self.cri_perceptual:
            perceptual, style = self.cri_perceptual(with_channels(restored, 3), with_channels(gt, 3))
            losses_g['perceptual_opt'] = {'l_g_percep': perceptual, 'l_g_style': style}
        if self.cri_gan:
            # One batch of fake and real pairs, so that both meet the same statistics.
            pairs = torch.cat([torch.cat([lq, restored], 1), torch.cat([lq, gt], 1)])
            fake, real = _halve(self.net_d(pairs))
            if isinstance(fake, list) and type(self.cri_gan) is GANLoss:
                raise ValueError(
                    f'train: gan_opt: GANLoss takes one map, but network_d ({self.opt["network_d"]["type"]}) gives '
                    'several: take MultiScaleGANLoss.'
                )
            losses_g['gan_opt'] = {'l_g_gan': self.cri_gan(fake, True, is_disc=False)}
            if self.cri_feat:
                losses_g['feature_matching_opt'] = {'l_g_feat': self.cri_feat(fake, real)}
            losses_d['l_d_real'] = self.cri_gan(real, True, is_disc=True)
            losses_d['l_d_fake'] = self.cri_gan(fake, False, is_disc=True)
        return self._weighted(losses_g, current_iter), losses_d

    def _weighted(self, losses: dict[str, dict[str, Tensor | None]], current_iter: int) -> dict[str, Tensor]:
        """Apply ``train: loss_weight_schedule`` to the terms of each loss; terms that are None are left out."""
        factors = {name: factor_at(points, current_iter) for name, points in self.loss_schedule.items()}
        return {
            term: factors.get(name, 1) * value
            for name, terms in losses.items()
            for term, value in terms.items()
            if value is not None
        }

    def model_ema(self, decay: float = 0.999) -> None:
        """Move the averaged generator towards the trained one.

        The decay that :meth:`optimize_parameters` asks for grows to ``ema_decay`` over the first iterations, so that
        the average is not held back by the initial weights.
        """
        move_average(self.net_g_ema, self.get_bare_model(self.net_g), decay)

    def _load_pretrained(self, net: nn.Module, section: str, param_key: str = 'params') -> None:
        """Load the weights that ``path: pretrain_<section>`` names, if any (resuming sets it, too)."""
        path = self.opt['path']
        if path.get(f'pretrain_{section}'):
            label = section.removeprefix('network_')
            self.load_network(net, path[f'pretrain_{section}'], path.get(f'strict_load_{label}', True), param_key)

    def _build_loss(self, name: str) -> nn.Module | None:
        """Build the loss that ``train: <name>`` describes, if it is there.

        Raises:
            FileNotFoundError: if the loss needs weights that are neither on this machine nor can be downloaded.
        """
        options = self.opt['train'].get(name)
        if not options:
            return None
        try:
            return build_loss(options).to(self.device)
        except URLError as error:
            raise FileNotFoundError(
                f'train: {name}: {options["type"]} needs the ImageNet weights of '
                f'{options.get("vgg_type", "its network")}, which cannot be downloaded ({error.reason}). Put '
                f'vgg19-dcbb9e9d.pth (download.pytorch.org/models) into {torch.hub.get_dir()}/checkpoints, or take '
                f'{name} out of the options file.'
            ) from error


def _halve(outputs: Outputs) -> tuple[Outputs, Outputs]:
    """Part a discriminator's outputs for a batch of fake and real pairs into those of each."""
    if isinstance(outputs, Tensor):
        return outputs.float().chunk(2)
    fake, real = zip(*map(_halve, outputs), strict=True)
    return list(fake), list(real)


def _in_unit_range(pictures: Tensor) -> Tensor:
    """Scale uint8 pictures, which are a quarter of the traffic to the device, to the float values in [0, 1]."""
    if pictures.dtype != torch.uint8:
        return pictures
    # By a tensor: dividing by a number, GPUs multiply by its reciprocal, which rounds otherwise than the data set does.
    return pictures.float().div_(torch.full((), 255.0, device=pictures.device))
