"""The training of HiFaceGAN as the host's training loop drives it.

Optimisers and schedule: Yang et al., arXiv 2005.05005, section 4.1.
"""

from __future__ import annotations

import json
import logging
import warnings
from contextlib import ExitStack
from functools import reduce
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.models.base_model import BaseModel
from basicsr.utils import tensor2img
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

import hifacegan_plugin
from hifacegan_plugin.images.channels import channels_of
from hifacegan_plugin.metrics.metric import build_metrics
from hifacegan_plugin.models.batch import prepare_images
from hifacegan_plugin.models.best_figures import BestFigures
from hifacegan_plugin.models.checkpoints import Checkpoints, network_content
from hifacegan_plugin.models.divergence import DivergenceGuard, has_finite_weights
from hifacegan_plugin.models.ema import update_ema
from hifacegan_plugin.models.epoch import current_epoch
from hifacegan_plugin.models.fine_tuning import parameter_groups
from hifacegan_plugin.models.generator import configure_generator
from hifacegan_plugin.models.loading import load_weights
from hifacegan_plugin.models.lr_scheduler import build_scheduler
from hifacegan_plugin.models.objective import Objective
from hifacegan_plugin.models.optimizers import build_optimizer
from hifacegan_plugin.models.pending_losses import PendingLosses, start_reading
from hifacegan_plugin.models.progressive import halvings_at, set_phase
from hifacegan_plugin.models.resuming import check_lr_factors, resume_optimizers
from hifacegan_plugin.models.stop_signal import StopSignal, exit_status
from hifacegan_plugin.models.throughput import Throughput
from hifacegan_plugin.models.validation import Validation, log_figures
from hifacegan_plugin.schema.file import parse_training
from hifacegan_plugin.schema.problem import raise_first
from hifacegan_plugin.schema.registered import problems_of_call, registered_names
from hifacegan_plugin.schema.section import find_problems
from hifacegan_plugin.schema.training import Train
from hifacegan_plugin.system.memory import keep_freed_memory
from hifacegan_plugin.system.processes import explain_lost_peer, gather_from_all
from hifacegan_plugin.system.random_state import random_state, undisturbed_random_state

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

AMP_DTYPES = {None: None, 'none': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}
AT_THE_END = -1  # the host's iteration where it saves what the training ends with


class HiFaceGANCSRModel(BaseModel):  # type: ignore[misc]  # the host has no types
    """Trains and tests any generator of the host's registry with HiFaceGAN's objective.

    The options under ``train`` are listed in docs/training.md. All losses are optional; one of ``pixel_opt``,
    ``perceptual_opt`` and ``gan_opt`` is needed. With ``gan_opt``, ``network_d`` judges pairs of degraded and restored
    images.

    Args:
        opt: options of the experiment, as the host's ``parse_options`` returns them.

    Raises:
        ValueError: options contradict each other or are not known to the network or metric that they are for.
    """

    lq: Tensor
    guide: Any  # Tensor; None where the generator takes none
    gt: Any  # Tensor; None where it is not known
    output: Tensor

    def __init__(self, opt: dict[str, Any]) -> None:
        for section in ('network_g', 'network_d'):
            if opt.get(section):
                raise_first(problems_of_call(section, opt[section], registered_names(ARCH_REGISTRY)))
        metrics = build_metrics((opt.get('val') or {}).get('metrics'))
        super().__init__(opt)
        self.validator = Validation(opt, metrics, self.restore, self.stop_requested)
        network = build_network(opt['network_g'])
        if self.is_train:
            self.train_options = parse_training(opt)
            configure_generator(network, self.train_options)
        self.takes_guide = getattr(network, 'takes_guide', False)
        self.net_g = self.model_to_device(network)
        self.print_network(self.net_g)
        self._load_pretrained(self.net_g, 'network_g', opt['path'].get('param_key_g', 'params'))
        if self.is_train:
            self.init_training_settings()
        if self.device.type == 'cpu':
            keep_freed_memory()

    # ------------------------------------------------------------------------------------------- building a training

    def init_training_settings(self) -> None:
        """Build what only training needs: objective, discriminator, average, optimisers, schedules, collaborators."""
        options = self.train_options
        for problem in find_problems(Train, self.opt['train'], 'train'):  # those that are left stop nothing
            logger.warning(problem.what)
        self.lr_factors = options.lr_factors or {}
        self.milestones = options.progressive or []
        self.objective = Objective(options, self.device)
        self.objective.check_generator(self.get_bare_model(self.net_g))
        if self.objective.is_adversarial:
            self._build_discriminator()
        self.net_d_iters = options.net_d_iters
        self.net_d_init_iters = options.net_d_init_iters
        self.net_g.train()
        self.ema_decay = options.ema_decay
        if self.ema_decay > 0:
            self._build_average()
        self.accumulate_iters = options.accumulate_iters
        self.grad_clip = options.grad_clip
        self.amp_dtype = AMP_DTYPES[options.amp]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_dtype is torch.float16)
        self.setup_optimizers()
        self.setup_schedulers()
        # Waiting for the losses of every iteration would leave a GPU idle until the next one is launched.
        fused = all(optimizer.defaults.get('fused') for optimizer in self.optimizers)
        self.reads_late = (
            self.device.type == 'cuda'
            and fused
            and self.accumulate_iters == 1
            and (self.amp_dtype is not torch.float16)
        )
        self.pending: PendingLosses | None = None  # of the last iteration
        self.iteration: int | None = None  # the last one trained, in this process or before it was resumed

        self.stop_signal = StopSignal()
        self.throughput = Throughput(options.total_iter, self.device)
        states = Path(self.opt['path']['training_states'])
        stops = options.on_not_finite == 'stop'
        self.divergence = DivergenceGuard(stops, states.parent / 'not_finite', self.opt['rank'])
        self.best_figures = BestFigures(states / 'best_figures.json')
        self.checkpoints = Checkpoints(Path(self.opt['path']['models']), states, options.keep_last or 0)
        if self.opt['rank'] == 0:
            self.checkpoints.delete_unfinished()

    def _build_discriminator(self) -> None:
        network = build_network(self.opt['network_d'])
        if self.train_options.channels_last:
            network.to(memory_format=torch.channels_last)
        self.net_d = self.model_to_device(network)
        self.print_network(self.net_d)
        self._load_pretrained(self.net_d, 'network_d')
        self.net_d.train()

    def _build_average(self) -> None:
        self.net_g_ema = build_network(self.opt['network_g'])
        if self.milestones:
            self.net_g_ema.add_coarse_outputs()
        self.net_g_ema.to(self.device)
        self.net_g_ema.load_state_dict(self.get_bare_model(self.net_g).state_dict())
        self._load_pretrained(self.net_g_ema, 'network_g', 'params_ema')
        self.net_g_ema.eval().requires_grad_(False)

    def setup_optimizers(self) -> None:
        """Build the optimiser of the generator and, where there is one, of the discriminator."""
        groups = {'g': parameter_groups(self.get_bare_model(self.net_g), self.lr_factors)}
        if self.objective.is_adversarial:
            groups['d'] = [{'params': list(self.net_d.parameters())}]
        for label, parameters in groups.items():
            section = f'optim_{label}'
            optimizer = build_optimizer(f'train: {section}', self.opt['train'][section], parameters)
            setattr(self, f'optimizer_{label}', optimizer)
            self.optimizers.append(optimizer)

    def setup_schedulers(self) -> None:
        """Build the schedule of each optimiser's learning rates."""
        options = self.train_options
        self.schedulers = [
            build_scheduler(optimizer, options.scheduler.model_dump(), options.total_iter)
            for optimizer in self.optimizers
        ]

    def _load_pretrained(self, net: nn.Module, section: str, param_key: str = 'params') -> None:
        """Load the weights that ``path: pretrain_<section>`` names, if any (resuming sets it, too)."""
        path = self.opt['path']
        if path.get(f'pretrain_{section}'):
            label = section.removeprefix('network_')
            self.load_network(net, path[f'pretrain_{section}'], path.get(f'strict_load_{label}', True), param_key)

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str = 'params') -> None:
        """Load weights, as the host asks for them; see :func:`~hifacegan_plugin.models.loading.load_weights`."""
        load_weights(self.get_bare_model(net), load_path, strict, param_key)

    # ------------------------------------------------------------------------------------------------------ iterating

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch: ``lq`` and, for training, ``gt``, ``(N, C, H, W)``, in [0, 1] or uint8, which is scaled.

        Where the network takes grey images and the batch is RGB, the network gets their luma; the other way round,
        three equal channels. A network that restores by a guide gets ``guide``, which is as ``lq`` is.

        Raises:
            ValueError: there is no guide for a network that takes one.
        """
        channels = channels_of(self.opt['network_g'])
        if self.takes_guide and 'guide' not in data:
            raise ValueError(
                f'network_g: {self.opt["network_g"]["type"]} takes a guide beside each image, and the data set gives '
                'none: set guide: in its options (docs/degradations.md).'
            )
        wanted = ['lq', *(['guide'] if self.takes_guide else []), *(['gt'] if 'gt' in data else [])]
        images = {name: prepare_images(data[name], self.device, channels) for name in wanted}
        self.lq, self.guide, self.gt = images['lq'], images.get('guide'), images.get('gt')
        self.paths = data.get('lq_path', [])
        if self.is_train and self.train_options.channels_last:
            self.lq = self.lq.to(memory_format=torch.channels_last)

    @explain_lost_peer()
    def optimize_parameters(self, current_iter: int) -> None:
        """Update both networks from one forward pass of each.

        Raises:
            FloatingPointError: a loss is not finite and ``on_not_finite`` is ``stop``, or many in a row were not.
            ConnectionError: another process of the training has ended.
            SystemExit: a signal asked to stop; a checkpoint was written.
        """
        self.iteration = current_iter
        update = (current_iter - 1) // self.accumulate_iters + 1
        is_last = current_iter % self.accumulate_iters == 0
        updates_g = update % self.net_d_iters == 0 and update > self.net_d_init_iters

        if (current_iter - 1) % self.accumulate_iters == 0:
            self._enter_phase(current_iter)
            for optimizer in self.optimizers:
                optimizer.zero_grad()
        with self._exchanging_gradients(is_last):
            losses = self._backward(updates_g, current_iter)
        batch = {'lq': self.lq, 'gt': self.gt, 'paths': list(self.paths)}
        pending = start_reading(current_iter, losses, self.stop_requested(), batch, self.opt.get('world_size', 1))
        previous, self.pending = self.pending, pending
        if self.reads_late:
            is_finite, stop = True, previous is not None and self._finish_reading(previous)[1]
        else:
            is_finite, stop = self._finish_reading(self.pending)
        if not is_finite:
            for optimizer in self.optimizers:
                optimizer.zero_grad()
        elif is_last:
            self._step(updates_g)
            if updates_g and self.ema_decay > 0:
                self.model_ema(min(self.ema_decay, (1 + update) / (10 + update)))
        self._log_throughput(current_iter)
        if stop and is_last:  # accumulated gradients are not saved
            self.save_and_exit(current_iter)

    def _enter_phase(self, current_iter: int) -> None:
        """Enter the phase of progressive training that an iteration lies in."""
        if not self.milestones:
            return
        halvings = halvings_at(current_iter, self.milestones)
        network = self.get_bare_model(self.net_g)
        if halvings != network.halvings:
            logger.info(f'Iteration {current_iter}: the generator grows to 1/{2**halvings} of the size.')
            set_phase(network, halvings, self.lr_factors)
            self.net_g = self.model_to_device(network)  # other parameters have gradients to exchange now
        if self.ema_decay > 0:
            self.net_g_ema.halvings = halvings

    def _exchanging_gradients(self, exchange: bool) -> ExitStack:
        """While gradients accumulate, keep processes from exchanging them before the last backward pass."""
        stack = ExitStack()
        for network in self._trained_networks():
            if not exchange and isinstance(network, DistributedDataParallel):
                stack.enter_context(network.no_sync())
        return stack

    def _trained_networks(self) -> list[nn.Module]:
        return [self.net_g, self.net_d] if self.objective.is_adversarial else [self.net_g]

    def _backward(self, updates_g: bool, current_iter: int) -> dict[str, Tensor]:
        """Run both networks and accumulate the gradients; return the losses.

        What the generator gives is cut out of its graph: the losses' gradients are gathered there and sent through
        the generator once. The same pass of the discriminator serves both updates, because its weights do not
        change in between; the generator's part of it computes no gradients of the discriminator's weights.
        """
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
            total = self.scaler.scale(reduce(torch.add, losses_g.values()) / self.accumulate_iters)
            gradients = torch.autograd.grad(
                total, cut, retain_graph=bool(losses_d), allow_unused=True, materialize_grads=True
            )
            torch.autograd.backward(
                outputs, [gradient.to(output.dtype) for gradient, output in zip(gradients, outputs, strict=True)]
            )
            self.output = self.output.detach()
        if losses_d:
            torch.autograd.backward(
                self.scaler.scale(reduce(torch.add, losses_d.values()) / (2 * self.accumulate_iters))
            )
        return {**(losses_g if updates_g else {}), **losses_d}

    def _generate(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the restored images and, where a loss judges it, what the generator gives beside them."""
        if self.objective.takes_byproducts:
            return self.net_g(*self._inputs(), with_byproducts=True)
        return self.net_g(*self._inputs()), {}

    def _inputs(self) -> list[Tensor]:
        """Return what the generator takes."""
        return [self.lq] if self.guide is None else [self.lq, self.guide]

    def _finish_reading(self, pending: PendingLosses) -> tuple[bool, bool]:
        """Wait for the losses of an iteration; return whether they are finite, and whether any process should stop.

        Raises:
            FloatingPointError: as :meth:`optimize_parameters`.
        """
        losses, stop = pending.read()
        is_finite = self.divergence.check(pending.iteration, losses, pending.batch, self._trained_networks())
        self.log_dict = losses if is_finite else {}
        return is_finite, stop

    def _step(self, updates_g: bool) -> None:
        """Let the optimisers step."""
        networks = {self.optimizer_g: self.net_g} if updates_g else {}
        if self.objective.is_adversarial:
            networks[self.optimizer_d] = self.net_d
        for optimizer, network in networks.items():
            if self.reads_late and self.pending:
                optimizer.found_inf = self.pending.not_finite  # a fused step is skipped on the device where it is 1
            if self.grad_clip > 0:
                self.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(network.parameters(), self.grad_clip)
            self.scaler.step(optimizer)
        self.scaler.update()

    def model_ema(self, decay: float = 0.999) -> None:
        """Move the averaged generator towards the trained one.

        The decay that :meth:`optimize_parameters` asks for grows to ``ema_decay`` over the first iterations, so that
        the average is not held back by the initial weights.
        """
        update_ema(self.net_g_ema, self.get_bare_model(self.net_g), decay)

    def _log_throughput(self, current_iter: int) -> None:
        """Log speed, memory and time left as often as the host logs the losses."""
        self.throughput.count(len(self.lq) * self.opt.get('world_size', 1))
        if current_iter % self.opt['logger']['print_freq'] == 0:
            logger.info(self.throughput.line(current_iter))

    def get_current_log(self) -> dict[str, float]:
        """Return the losses of the last iteration, averaged over all processes; waits for the device."""
        if self.reads_late and self.pending is not None:
            self.log_dict = self.pending.read()[0]
        return self.log_dict

    # -------------------------------------------------------------------------------------------- saving and resuming

    @explain_lost_peer()
    def save(self, epoch: int, current_iter: int) -> None:
        """Write a checkpoint, once it is known that the last losses were finite.

        Weights that are not finite are not written: training could not resume from them. At the end of the training
        (iteration -1) the last weights are written, after a checkpoint, so that an extended training resumes from them.

        Raises:
            FloatingPointError: as :meth:`optimize_parameters`.
            OSError: the last weights of the training cannot be written.
        """
        if self.reads_late and self.pending is not None:
            self._finish_reading(self.pending)
            self.pending = None
        if current_iter != AT_THE_END:
            self._write_checkpoint(epoch, current_iter)
            return
        if self.iteration is not None:
            self._write_checkpoint(current_epoch(), self.iteration)
        if self.opt['rank'] == 0 and self._may_write('last weights'):
            self.checkpoints.write_last_weights(self._network_contents())

    def _write_checkpoint(self, epoch: int, iteration: int) -> None:
        random_states = gather_from_all(random_state())
        if self.opt['rank'] > 0 or iteration == self.checkpoints.newest:
            return
        if not self._may_write(f'checkpoint at iteration {iteration}'):
            return
        state = {
            'epoch': epoch,
            'iter': iteration,
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
            'scaler': self.scaler.state_dict(),
            'best_metric_results': self.best_figures.records,
            'random_states': random_states,
            'options': json.loads(json.dumps(self.opt, default=str)),  # plain values, which load without pickled code
            'plugin_version': hifacegan_plugin.__version__,
        }
        keep = self.best_figures.iterations(self.train_options.keep_best)
        self.checkpoints.write(iteration, self._network_contents(), state, keep)

    def _may_write(self, what: str) -> bool:
        """Return whether the weights are finite; log an error if they are not."""
        average = [self.net_g_ema] if self.ema_decay > 0 else []
        is_finite = has_finite_weights([*self._trained_networks(), *average])
        if not is_finite:
            logger.error(f'No {what}: weights are not finite, the training diverged.')
        return is_finite

    def _network_contents(self) -> dict[str, dict[str, Any]]:
        """Return the contents of the networks' files by name."""
        generators = {'params': self.get_bare_model(self.net_g)}
        if self.ema_decay > 0:
            generators['params_ema'] = self.net_g_ema
        contents = {'net_g': network_content(generators, 'network_g', self.opt['network_g'])}
        if self.objective.is_adversarial:
            discriminator = {'params': self.get_bare_model(self.net_d)}
            contents['net_d'] = network_content(discriminator, 'network_d', self.opt['network_d'])
        return contents

    def stop_requested(self) -> bool:
        """Return whether a signal asked this process to stop training."""
        return self.is_train and self.stop_signal.came

    def save_and_exit(self, current_iter: int) -> NoReturn:
        """Answer a signal that some process got, in all processes together: write a checkpoint, then exit.

        Raises:
            SystemExit: always; with status 1 where the checkpoint could not be written.
        """
        received = next(filter(None, gather_from_all(self.stop_signal.number)))
        logger.info(
            f'{received.name} at iteration {current_iter}: saving, then leaving. --auto_resume goes on from here.'
        )
        self.save(current_epoch(), current_iter)
        saved = gather_from_all(self.checkpoints.newest == current_iter)[0]  # the first one writes
        raise SystemExit(exit_status(received) if saved else 1)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written; the networks were loaded when they were built.

        Learning rates, betas and all else that is set in the options is that of the options now.

        Raises:
            ValueError: the options ask for optimisers that the state is not of.
        """
        if 'options' in resume_state:  # as this class writes them
            before = resume_state['options']['train'].get('lr_factors') or {}
            check_lr_factors(self.get_bare_model(self.net_g), before, self.lr_factors)
        resume_optimizers(self.optimizers, resume_state['optimizers'])
        self.iteration = self.checkpoints.newest = resume_state['iter']
        self._advance_schedules(self.iteration)
        if resume_state.get('scaler'):  # empty where it was written without fp16
            self.scaler.load_state_dict(resume_state['scaler'])
        self.best_figures.resume(self.iteration, resume_state.get('best_metric_results') or {})

    def _advance_schedules(self, iteration: int) -> None:
        """Set the learning rates of an iteration of a training that has had these options from the start."""
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', r'Detected call of `lr_scheduler.step\(\)`')  # before an optimiser's step
            for earlier in range(1, iteration + 1):
                self.update_learning_rate(earlier, self.train_options.warmup_iter)

    # ------------------------------------------------------------------------------------------------------ restoring

    def test(self) -> None:
        """Restore ``self.lq`` with the averaged generator, or the trained one if there is no average."""
        network = getattr(self, 'net_g_ema', None) or self.get_bare_model(self.net_g)
        was_training = network.training
        network.eval()
        try:
            with torch.no_grad():
                self.output = network(*self._inputs())
        finally:  # an image that cannot be restored does not end a training
            network.train(was_training)

    def get_current_visuals(self) -> dict[str, Tensor]:
        """Return the images of the last batch on the CPU: ``lq``, ``result`` and, where it is known, ``gt``."""
        images = {'lq': self.lq, 'result': self.output, 'gt': self.gt}
        return {name: image.detach().cpu() for name, image in images.items() if image is not None}

    def restore(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        """Restore a batch of one image; return ``lq``, ``result`` and, where it is known, ``gt``, uint8 BGR or grey.

        Raises:
            ValueError: the network returns NaN or infinite values.
        """
        self.feed_data(batch)
        self.test()
        visuals = self.get_current_visuals()
        del self.lq, self.guide, self.output, self.gt
        if not visuals['result'].isfinite().all():
            raise ValueError('the network returns NaN or infinite values')
        return {name: tensor2img(image) for name, image in visuals.items()}

    def dist_validation(
        self, dataloader: DataLoader[Any], current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Restore and measure a data set, every process its share; the figures are those of a single process."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    @explain_lost_peer()
    @undisturbed_random_state()  # whether a training that was resumed validates or not, it draws the same
    def nondist_validation(
        self, dataloader: DataLoader[Any], current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Restore a data set, measure it with ``val: metrics``, log the figures and the best so far.

        Raises:
            ValueError: a metric needs ground truth that the data set does not have.
            RuntimeError: in testing, no image could be restored.
            ConnectionError: another process of the training has ended.
            SystemExit: a signal asked the training to stop; a checkpoint was written.
        """
        iteration: Any = current_iter  # in testing, the name of the experiment
        if self.is_train:  # the host counts on before it validates for the last time
            iteration = min(iteration, int(self.opt['train'].get('total_iter', iteration)))
        dataset: Any = dataloader.dataset
        figures = self.validator.run(dataset, iteration, tb_logger, save_img)
        if figures is None:
            self.save_and_exit(iteration)
        if not figures:
            return
        self.metric_results = figures
        name, best = dataset.opt['name'], {}
        if self.is_train:
            directions = {metric.name: metric.better for metric in self.validator.metrics}
            self.best_figures.update(name, figures, directions, iteration)
            best = self.best_figures.records[name]
        log_figures(name, figures, best, iteration, tb_logger)
