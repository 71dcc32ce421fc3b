"""The training of HiFaceGAN as the host's training loop drives it.

Objective, optimisers and schedule: Yang et al., arXiv 2005.05005, section 3.4 and 4.1.
"""

from __future__ import annotations

import difflib
import inspect
import logging
from collections import OrderedDict
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.error import URLError

import cv2
import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from basicsr.utils import imwrite, tensor2img
from basicsr.utils.dist_util import get_dist_info, master_only
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

import hifacegan_plugin
from hifacegan_plugin.atomic import whole_file
from hifacegan_plugin.metrics.measure import Meter
from hifacegan_plugin.models.lr_scheduler import LinearDecayLR
from hifacegan_plugin.weights import read_weights

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

PICTURES_TO_WATCH = 4  # of each validation set, drawn into TensorBoard: degraded, restored, true


class HiFaceGANCSRModel(SRModel):
    """Trains and tests any generator of the host's registry with HiFaceGAN's objective.

    Options under ``train`` (all losses are optional, one is needed): ``pixel_opt``, ``perceptual_opt``, ``gan_opt``,
    ``feature_matching_opt``; ``optim_g``, ``optim_d``, ``scheduler`` (the host's, or ``LinearDecayLR``);
    ``ema_decay``; ``net_d_iters``, ``net_d_init_iters``. With ``gan_opt``, ``network_d`` judges pairs of degraded and
    restored picture.

    Raises:
        ValueError: for options that contradict each other or are not known to the network that they are for.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        for section in ('network_g', 'network_d'):
            if section in opt:
                _check_network_options(section, opt[section])
        super().__init__(opt)

    def init_training_settings(self) -> None:
        """Build what only training needs: discriminator, moving average, losses, optimisers, schedules."""
        train_opt = self.opt['train']
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
            if 'network_d' not in self.opt:
                raise ValueError('train: gan_opt needs a discriminator: add network_d to the options file.')
            self.net_d = self.model_to_device(build_network(self.opt['network_d']))
            self.print_network(self.net_d)
            self._load_pretrained(self.net_d, 'network_d')
            self.net_d.train()
        self.net_d_iters = train_opt.get('net_d_iters', 1)
        self.net_d_init_iters = train_opt.get('net_d_init_iters', 0)

        self.net_g.train()
        self.ema_decay = train_opt.get('ema_decay', 0)
        if self.ema_decay > 0:
            self.net_g_ema = build_network(self.opt['network_g']).to(self.device)
            self.net_g_ema.load_state_dict(self.get_bare_model(self.net_g).state_dict())
            self._load_pretrained(self.net_g_ema, 'network_g', 'params_ema')
            self.net_g_ema.eval().requires_grad_(False)

        self.setup_optimizers()
        self.setup_schedulers()

    def setup_optimizers(self) -> None:
        """Build the optimiser of the generator and, where there is one, of the discriminator."""
        networks = {'g': self.net_g, 'd': self.net_d} if self.cri_gan else {'g': self.net_g}
        for label, network in networks.items():
            options = dict(self.opt['train'][f'optim_{label}'])
            optimizer = self.get_optimizer(options.pop('type'), network.parameters(), **options)
            setattr(self, f'optimizer_{label}', optimizer)
            self.optimizers.append(optimizer)

    def setup_schedulers(self) -> None:
        """Build the schedules: ``LinearDecayLR``, or one of the host's."""
        options = dict(self.opt['train']['scheduler'])
        if options.pop('type') == 'LinearDecayLR':
            self.schedulers = [LinearDecayLR(optimizer, **options) for optimizer in self.optimizers]
        else:
            super().setup_schedulers()

    def optimize_parameters(self, current_iter: int) -> None:
        """Update both networks from one forward pass of each.

        The restored picture is cut out of the generator's graph: the losses' gradient is gathered there and sent
        through the generator once. The same pass of the discriminator serves both updates, because its weights do not
        change in between; the generator's part of it computes no gradients of the discriminator's weights.
        """
        updates_g = current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters
        with torch.set_grad_enabled(updates_g):
            self.output = self.net_g(self.lq)
        restored = self.output.detach().requires_grad_(updates_g)

        losses_g, losses_d = self._losses(restored)
        if updates_g:
            (gradient,) = torch.autograd.grad(sum(losses_g.values()), restored, retain_graph=bool(losses_d))
            self.optimizer_g.zero_grad()
            self.output.backward(gradient)
            self.output = self.output.detach()
        if losses_d:
            self.optimizer_d.zero_grad()
            (sum(losses_d.values()) / 2).backward()
            self.optimizer_d.step()
        if updates_g:
            self.optimizer_g.step()
            if self.ema_decay > 0:
                self.model_ema(min(self.ema_decay, (1 + current_iter) / (10 + current_iter)))

        self.log_dict = self.reduce_loss_dict(OrderedDict({**(losses_g if updates_g else {}), **losses_d}))

    def _losses(self, restored: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Compute the terms of the generator's and of the discriminator's objective; weights are applied."""
        losses_g, losses_d = {}, {}
        if self.cri_pix:
            losses_g['l_g_pix'] = self.cri_pix(restored, self.gt)
        if self.cri_perceptual:
            perceptual, style = self.cri_perceptual(restored, self.gt)
            losses_g.update({k: v for k, v in {'l_g_percep': perceptual, 'l_g_style': style}.items() if v is not None})
        if self.cri_gan:
            # One batch of fake and real pairs, so that both meet the same statistics.
            pairs = torch.cat([torch.cat([self.lq, restored], 1), torch.cat([self.lq, self.gt], 1)])
            fake, real = _halve(self.net_d(pairs))
            losses_g['l_g_gan'] = self.cri_gan(fake, True, is_disc=False)
            if self.cri_feat:
                losses_g['l_g_feat'] = self.cri_feat(fake, real)
            losses_d['l_d_real'] = self.cri_gan(real, True, is_disc=True)
            losses_d['l_d_fake'] = self.cri_gan(fake, False, is_disc=True)
        return losses_g, losses_d

    def model_ema(self, decay: float = 0.999) -> None:
        """Move the averaged generator towards the trained one, and its spectral norm along with its weights.

        The decay that :meth:`optimize_parameters` asks for grows to ``ema_decay`` over the first iterations, so that
        the average is not held back by the initial weights.
        """
        for average, parameter in zip(self.net_g_ema.parameters(), self.net_g.parameters(), strict=True):
            average.lerp_(parameter.detach(), 1 - decay)
        for module in self.net_g_ema.modules():
            if parametrize.is_parametrized(module, 'weight'):
                # In train mode a look at the weight is one step of the power iteration that tracks its norm.
                module.parametrizations.weight.train()
                _ = module.weight
                module.parametrizations.weight.eval()

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

    def nondist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Restore a data set, measure it with ``val: metrics``, log the figures and the best so far.

        Raises:
            ValueError: a metric is unknown, or needs true pictures that the data set does not give.
        """
        dataset, val_opt = dataloader.dataset, self.opt['val']
        rank, world_size = get_dist_info()
        share = DataLoader(Subset(dataset, range(rank, len(dataset), world_size)))
        meter, measurements = None, []
        for number, data in enumerate(tqdm(share, unit='image', disable=rank > 0 or not val_opt.get('pbar', False))):
            self.feed_data(data)
            self.test()
            visuals = self.get_current_visuals()
            del self.lq, self.output
            pictures = {name: tensor2img(picture) for name, picture in visuals.items()}
            if 'gt' in visuals:
                del self.gt
            image_name = Path(data['lq_path'][0]).stem
            if save_img:
                imwrite(pictures['result'], str(self._result_path(dataset.opt['name'], image_name, current_iter)))
            if tb_logger and number < PICTURES_TO_WATCH:
                tag = f'{dataset.opt["name"]}/{image_name}'
                tb_logger.add_image(tag, _side_by_side(pictures), current_iter, dataformats='HWC')
            if val_opt.get('metrics'):
                meter = meter or Meter(val_opt['metrics'], with_truth='gt' in pictures)
                measurements.append(meter.measure(image_name, pictures['result'], pictures.get('gt')))
        if val_opt.get('metrics'):
            shares = [measurements]
            if world_size > 1:
                shares = [None] * world_size
                torch.distributed.all_gather_object(shares, measurements)
            if rank == 0:
                self._log_figures(dataset.opt['name'], meter.summarise(chain(*shares)), current_iter, tb_logger)

    def _log_figures(
        self, dataset_name: str, figures: dict[str, float], current_iter: int | str, tb_logger: Any
    ) -> None:
        """Log the figures of a data set by the host's own mechanism, which keeps the best."""
        self.metric_results = figures
        self._initialize_best_metric_results(dataset_name)
        for metric, value in figures.items():
            self._update_best_metric_result(dataset_name, metric, value, current_iter)
        self._log_validation_metric_values(current_iter, dataset_name, tb_logger)

    def _result_path(self, dataset_name: str, image_name: str, current_iter: int | str) -> Path:
        """Name the file of a restored picture as the host does."""
        folder = Path(self.opt['path']['visualization'])
        if self.is_train:
            return folder / image_name / f'{image_name}_{current_iter}.png'
        return folder / dataset_name / f'{image_name}_{self.opt["val"].get("suffix") or self.opt["name"]}.png'

    def save(self, epoch: int, current_iter: int) -> None:
        """Write the networks, then the training state that makes them a checkpoint to resume from.

        If the disk is full, training goes on and the previous checkpoint stays.
        """
        try:
            if self.ema_decay > 0:
                self.save_network([self.net_g, self.net_g_ema], 'net_g', current_iter, ['params', 'params_ema'])
            else:
                self.save_network(self.net_g, 'net_g', current_iter)
            if self.cri_gan:
                self.save_network(self.net_d, 'net_d', current_iter)
            self.save_training_state(epoch, current_iter)
        except OSError as error:
            logger.error(f'No checkpoint at iteration {current_iter}: {error}. Training goes on.')

    @master_only
    def save_network(
        self,
        net: nn.Module | list[nn.Module],
        net_label: str,
        current_iter: int,
        param_key: str | list[str] = 'params',
    ) -> None:
        """Write ``<net_label>_<current_iter>.pth`` as the host does, and the options that rebuild the network."""
        networks = net if isinstance(net, list) else [net]
        keys = param_key if isinstance(param_key, list) else [param_key]
        content = {
            key: {name: value.cpu() for name, value in self.get_bare_model(network).state_dict().items()}
            for key, network in zip(keys, networks, strict=True)
        }
        section = net_label.replace('net_', 'network_')
        content[section] = dict(self.opt[section])
        content['plugin_version'] = hifacegan_plugin.__version__
        name = 'latest' if current_iter == -1 else current_iter
        _save(content, Path(self.opt['path']['models']) / f'{net_label}_{name}.pth')

    @master_only
    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write ``<current_iter>.state``, which the host's ``--auto_resume`` looks for."""
        if current_iter == -1:
            return
        state = {
            'epoch': epoch,
            'iter': current_iter,
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
            'best_metric_results': getattr(self, 'best_metric_results', {}),
        }
        _save(state, Path(self.opt['path']['training_states']) / f'{current_iter}.state')

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written; the networks were loaded when they were built."""
        super().resume_training(resume_state)
        if resume_state.get('best_metric_results'):
            self.best_metric_results = resume_state['best_metric_results']

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str = 'params') -> None:
        """Load weights of any published layout, without executing pickled code.

        Raises:
            WeightsError: if the file is damaged or no file of weights.
            RuntimeError: with ``strict``, if the weights are another network's; says which options they look like.
        """
        state_dict, _ = read_weights(load_path, param_key)
        logger.info(f'Loading {type(self.get_bare_model(net)).__name__} from {load_path}.')
        try:
            self.get_bare_model(net).load_state_dict(state_dict, strict=strict)
        except RuntimeError as error:
            raise RuntimeError(f'{load_path}: {error}') from None

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


def _check_network_options(section: str, options: dict[str, Any]) -> None:
    """Refuse options that the network's class does not take, before it raises a bare TypeError."""
    if options['type'] not in ARCH_REGISTRY:
        return  # the host's registry names what is missing
    known = set(inspect.signature(ARCH_REGISTRY.get(options['type'])).parameters) | {'type'}
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            guess = f' Did you mean {near[0]}?' if near else ''
            raise ValueError(
                f'{section}: {options["type"]} has no option {key!r}.{guess} It takes: {", ".join(sorted(known))}.'
            )


def _save(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; it appears under its name whole or not at all.

    Raises:
        OSError: if it cannot be written, e.g. because the disk is full.
    """
    try:
        with whole_file(path) as part:
            torch.save(content, part)
    except RuntimeError as error:  # what torch's zip writer makes of a full disk
        raise OSError(f'cannot write {path}: {error}') from error


def _side_by_side(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Lay degraded, restored and, where there is one, true picture side by side; BGR in, RGB ``(H, W, 3)`` out."""
    height, width = pictures['result'].shape[:2]
    degraded = cv2.resize(pictures['lq'], (width, height), interpolation=cv2.INTER_NEAREST)
    others = [pictures[name] for name in ('result', 'gt') if name in pictures]
    return cv2.cvtColor(np.hstack([degraded, *others]), cv2.COLOR_BGR2RGB)


def _halve(outputs: list[list[Tensor]]) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """Part a discriminator's outputs for a batch of fake and real pairs into those of each."""
    pairs = [[layer.chunk(2) for layer in scale] for scale in outputs]
    return [[fake for fake, _ in scale] for scale in pairs], [[real for _, real in scale] for scale in pairs]
