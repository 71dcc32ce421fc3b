"""What a checkpoint holds, when it is written, and going on from it."""

from __future__ import annotations

import json
import logging
import warnings
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.dist_util import master_only
from torch import nn

import hifacegan_plugin
from hifacegan_plugin.models.checkpoint_files import (
    delete_checkpoint,
    prune_checkpoints,
    write_checkpoint,
)
from hifacegan_plugin.models.epoch import current_epoch
from hifacegan_plugin.models.fine_tuning import fitting_weights, read_lr_factors
from hifacegan_plugin.models.lost_process import explain_lost_process
from hifacegan_plugin.models.resuming import check_lr_factors, resume_optimizers
from hifacegan_plugin.models.stop_signal import exit_status
from hifacegan_plugin.system.files import whole_file
from hifacegan_plugin.system.random_state import random_state
from hifacegan_plugin.weights import read_weights

logger = logging.getLogger('basicsr.hifacegan_plugin')


class Checkpoints(SRModel):
    """What the host's loops call to save, to load and to resume."""

    iteration: int | None = None  # the last one that was trained, in this process or before it was resumed
    written_at: int | None = None  # iteration of the newest checkpoint

    @explain_lost_process
    def save(self, epoch: int, current_iter: int) -> None:
        """Write the networks, then the training state that makes them a checkpoint to resume from.

        If the disk is full, training goes on and the previous checkpoint stays. Weights that are not finite are not
        written: nobody could go on from them. The last weights of the training (iteration -1) are also written as a
        checkpoint, so that a training that is extended goes on from them.

        Raises:
            OSError: the last weights of the training cannot be written.
        """
        if current_iter == -1 and self.iteration is not None:
            self.save(current_epoch(), self.iteration)
        self.random_states = self.of_all_processes(random_state())
        if self.opt['rank'] > 0 or current_iter == self.written_at:
            return
        networks = {'net_g': {'params': self.net_g}}
        if self.ema_decay > 0:
            networks['net_g']['params_ema'] = self.net_g_ema
        if self.cri_gan:
            networks['net_d'] = {'params': self.net_d}
        if not all(map(is_finite, chain(*(of_file.values() for of_file in networks.values())))):
            logger.error(f'No checkpoint at iteration {current_iter}: weights are not finite, the training diverged.')
            return
        folders = self._checkpoint_folders()
        try:
            delete_checkpoint(*folders, current_iter)  # else an older set of this iteration could mix with this one
            for label, of_file in networks.items():
                self.save_network(list(of_file.values()), label, current_iter, list(of_file))
            self.save_training_state(epoch, current_iter)
        except OSError as error:
            with suppress(OSError):  # half a set does no harm: without a state nobody resumes from it
                delete_checkpoint(*folders, current_iter)
            if current_iter == -1:
                raise OSError(
                    f'The last weights cannot be written ({error}). Make room; --auto_resume goes on from the last '
                    'checkpoint and ends with them.'
                ) from error
            logger.error(f'No checkpoint at iteration {current_iter}: {error}. Training goes on.')
        else:
            if current_iter != -1:
                self.written_at = current_iter
            prune_checkpoints(
                *folders, self.opt['train'].get('keep_last', 0), {current_iter, *self._best_iterations()}
            )

    def leave(self, current_iter: int) -> NoReturn:
        """Answer a signal that some process got, in all processes together: write a checkpoint, then end.

        Raises:
            SystemExit: always; with status 1 where the checkpoint could not be written.
        """
        number = next(filter(None, self.of_all_processes(self.stop_signal.number)))
        logger.info(
            f'{number.name} at iteration {current_iter}: saving, then leaving. --auto_resume goes on from here.'
        )
        self.save(current_epoch(), current_iter)
        saved = self.of_all_processes(self.written_at == current_iter)[0]  # the first one writes
        raise SystemExit(exit_status(number) if saved else 1)

    def _checkpoint_folders(self) -> tuple[Path, Path]:
        return Path(self.opt['path']['models']), Path(self.opt['path']['training_states'])

    def _best_iterations(self) -> set[int]:
        """Give the iterations that ``train: keep_best`` protects from pruning, one for each validation set."""
        metric = self.opt['train'].get('keep_best')
        records = getattr(self, 'best_metric_results', {}).values()
        return {record[metric]['iter'] for record in records if metric in record}

    def of_all_processes(self, value: Any) -> list[Any]:
        """Gather the value of every process, in the order of their ranks."""
        if not self.opt['dist']:
            return [value]
        values = [None] * self.opt['world_size']
        torch.distributed.all_gather_object(values, value)
        return values

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
            'random_states': self.random_states,
            'options': json.loads(json.dumps(self.opt, default=str)),  # plain values, which load without pickled code
            'plugin_version': hifacegan_plugin.__version__,
        }
        write_checkpoint(state, Path(self.opt['path']['training_states']) / f'{current_iter}.state')

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written; the networks were loaded when they were built.

        Learning rates, betas and all else that is set in the options is that of the options now.

        Raises:
            ValueError: the options ask for optimisers that the state is not of.
        """
        if 'options' in resume_state:  # as this class writes them
            before = read_lr_factors(resume_state['options']['train'])
            check_lr_factors(self.get_bare_model(self.net_g), before, self.lr_factors)
        resume_optimizers(self.optimizers, resume_state['optimizers'])
        self.iteration = self.written_at = resume_state['iter']
        self._take_schedules_to(self.iteration)
        if resume_state.get('scaler'):  # empty where it was written without fp16
            self.scaler.load_state_dict(resume_state['scaler'])
        best = self._read_best_figures()
        if not best or any(figure['iter'] > resume_state['iter'] for of in best.values() for figure in of.values()):
            best = resume_state.get('best_metric_results')  # those in the file belong to another course of the training
        if best:
            self.best_metric_results = best

    def _take_schedules_to(self, iteration: int) -> None:
        """Set the learning rates of an iteration of a training that has had these options from the start."""
        warmup = self.opt['train'].get('warmup_iter', -1)
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', r'Detected call of `lr_scheduler.step\(\)`')  # before an optimiser's step
            for earlier in range(1, iteration + 1):
                self.update_learning_rate(earlier, warmup)

    def save_best_figures(self) -> None:
        """Write the best figures so far beside the checkpoints: the host validates after it has saved."""
        try:
            with whole_file(self._best_figures_file()) as part:
                part.write_text(json.dumps(self.best_metric_results, indent=2))
        except OSError as error:
            logger.error(f'The best figures cannot be written: {error}. Training goes on.')

    def _read_best_figures(self) -> dict[str, Any]:
        file = self._best_figures_file()
        try:
            return json.loads(file.read_text()) if file.exists() else {}
        except (OSError, ValueError) as error:  # such as a file that is empty since the machine lost power
            logger.warning(f'{file} cannot be read ({error}). The best figures are those of the checkpoint.')
            return {}

    def _best_figures_file(self) -> Path:
        return self._checkpoint_folders()[1] / 'best_figures.json'

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



def is_finite(network: nn.Module) -> bool:
    """Tell whether all weights are numbers."""
    return all(parameter.isfinite().all() for parameter in network.parameters())
