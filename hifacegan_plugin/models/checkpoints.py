"""Checkpoints on disk: files that appear whole or not at all, going on from them, and the removal of old ones."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.dist_util import master_only
from torch import nn

import hifacegan_plugin
from hifacegan_plugin.atomic import whole_file
from hifacegan_plugin.models.fine_tuning import fitting_weights
from hifacegan_plugin.weights import read_weights

logger = logging.getLogger('basicsr.hifacegan_plugin')


class Checkpoints(SRModel):
    """What the host's loops call to save, to load and to resume."""

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
        else:
            if self.opt['rank'] == 0:
                metric = self.opt['train'].get('keep_best')
                records = getattr(self, 'best_metric_results', {}).values()
                best = {record[metric]['iter'] for record in records if metric in record}
                folders = (Path(self.opt['path'][name]) for name in ('models', 'training_states'))
                prune_checkpoints(*folders, self.opt['train'].get('keep_last', 0), best)

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
        write_checkpoint(content, Path(self.opt['path']['models']) / f'{net_label}_{name}.pth')

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
            'scaler': self.scaler.state_dict(),
            'best_metric_results': getattr(self, 'best_metric_results', {}),
        }
        write_checkpoint(state, Path(self.opt['path']['training_states']) / f'{current_iter}.state')

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written; the networks were loaded when they were built."""
        super().resume_training(resume_state)
        self.scaler.load_state_dict(resume_state.get('scaler', {}))
        if resume_state.get('best_metric_results'):
            self.best_metric_results = resume_state['best_metric_results']

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str = 'params') -> None:
        """Load weights of any published layout, without executing pickled code.

        Raises:
            WeightsError: if the file is damaged or no file of weights.
            RuntimeError: with ``strict``, if the weights are another network's; says which options they look like.
        """
        state_dict, _ = read_weights(load_path, param_key)
        net = self.get_bare_model(net)
        logger.info(f'Loading {type(net).__name__} from {load_path}.')
        if not strict:
            state_dict = fitting_weights(state_dict, net)
        try:
            net.load_state_dict(state_dict, strict=strict)
        except RuntimeError as error:
            raise RuntimeError(f'{load_path}: {error}') from None


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; it appears under its name whole or not at all.

    Raises:
        OSError: if it cannot be written, e.g. because the disk is full.
    """
    try:
        with whole_file(path) as part:
            torch.save(content, part)
    except RuntimeError as error:  # what torch's zip writer makes of a full disk
        raise OSError(f'cannot write {path}: {error}') from error


def prune_checkpoints(models: Path, states: Path, keep_last: int, best: set[int]) -> None:
    """Delete all checkpoints but the newest ``keep_last`` and those of the iterations ``best``.

    Args:
        models: folder of the networks, ``net_*_<iteration>.pth``.
        states: folder of the training states, ``<iteration>.state``.
        keep_last: how many to keep, from 1 up; 0 keeps all.
        best: iterations to keep besides.
    """
    iterations = sorted(int(state.stem) for state in states.glob('*.state'))
    for iteration in iterations[:-keep_last] if keep_last else []:
        if iteration not in best:
            # The state goes first, so that nobody resumes from a checkpoint that is being deleted.
            (states / f'{iteration}.state').unlink()
            for network in models.glob(f'net_*_{iteration}.pth'):
                network.unlink()
