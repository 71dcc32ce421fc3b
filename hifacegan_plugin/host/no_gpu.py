"""Training on CPUs, in any number of processes."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from hifacegan_plugin.host.workaround import training_modules, workaround
from hifacegan_plugin.schema.problem import Problem
from hifacegan_plugin.system.attributes import replaced

if TYPE_CHECKING:
    from basicsr.models.base_model import BaseModel


def problems_of_num_gpu(opt: dict[str, Any]) -> Iterator[Problem]:
    """Check that ``num_gpu`` is not more than the number of GPUs; with a launcher, each process uses one.

    Args:
        opt: options as returned by the host's ``parse_options``, which has replaced ``auto``.
    """
    found = 0 if _no_gpu() else torch.cuda.device_count()
    if (min(opt['num_gpu'], 1) if opt['dist'] else opt['num_gpu']) > found:
        yield Problem(
            f'num_gpu: {opt["num_gpu"]}, but torch finds {found} GPUs.', 'set auto for all GPUs, or 0 for the CPU'
        )


def _no_gpu() -> bool:
    return not torch.cuda.is_available()


@workaround(
    defect='`--launcher pytorch` and `slurm` divide by the number of GPUs and never destroy the process group',
    fix='on CPUs: uses gloo, and destroys the group at the end',
    applies=_no_gpu,
)
def launch_processes_without_gpu() -> None:
    """Make ``--launcher pytorch`` and ``--launcher slurm`` work on CPUs, with gloo.

    The host computes ``rank % number of GPUs``, uses nccl, and never destroys the process group.
    """
    from basicsr.utils import dist_util

    def wrapper(launch: Callable[..., None]) -> Callable[..., Any]:
        def launch_on_gloo(backend: str, **options: Any) -> None:
            # Functions of this module have the process group as a default value if they are defined after it.
            import torch.distributed.nn

            with replaced(torch.cuda, device_count=lambda: 1, set_device=lambda device: None):
                launch('gloo', **options)
            atexit.register(_leave_process_group)

        return launch_on_gloo

    launch_processes_without_gpu.wrap(dist_util, '_init_dist_pytorch', wrapper)
    launch_processes_without_gpu.wrap(dist_util, '_init_dist_slurm', wrapper)


def _leave_process_group() -> None:
    """End gloo's threads before the interpreter shuts down, which may abort on them (pytorch/pytorch#190489).

    They end when nothing refers to the group any longer: neither torch nor the distributed networks.

    Not after an error: other processes may then wait for this one, and destroying the group waits for them.
    """
    if dist.is_initialized() and not hasattr(sys, 'last_value'):
        dist.destroy_process_group()
        gc.collect()


@workaround(
    defect='networks are wrapped for the current GPU',
    fix='on CPUs: wraps them without a device',
    applies=_no_gpu,
)
def wrap_networks_without_gpu() -> None:
    """Let the host's models use DistributedDataParallel on CPUs; the host passes the current GPU."""
    from basicsr.models.base_model import BaseModel

    def wrapper(to_device: Callable[..., torch.nn.Module]) -> Callable[..., Any]:
        def to_device_or_cpu(self: BaseModel, net: torch.nn.Module) -> torch.nn.Module:
            if not self.opt['dist']:
                return to_device(self, net)
            return DistributedDataParallel(net, find_unused_parameters=self.opt.get('find_unused_parameters', False))

        return to_device_or_cpu

    wrap_networks_without_gpu.wrap(BaseModel, 'model_to_device', wrapper)


@workaround(
    defect='`--auto_resume` loads onto the current GPU',
    fix='on CPUs: loads onto the CPU',
    applies=_no_gpu,
)
def resume_without_gpu() -> None:
    """Let ``--auto_resume`` and ``resume_state`` work on CPUs; the host loads training states onto the current GPU."""

    def wrapper(load_resume_state: Callable[..., Any]) -> Callable[..., Any]:
        load = torch.load

        def load_onto_cpu(path: str, map_location: Any) -> Any:
            return load(path, map_location='cpu')

        def load_resume_state_onto_cpu(opt: dict[str, Any]) -> dict[str, Any] | None:
            with replaced(torch, load=load_onto_cpu), replaced(torch.cuda, current_device=lambda: 0):
                state: dict[str, Any] | None = load_resume_state(opt)
                return state

        return load_resume_state_onto_cpu

    for train in training_modules():
        resume_without_gpu.wrap(train, 'load_resume_state', wrapper)
