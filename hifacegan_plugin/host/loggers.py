"""TensorBoard and wandb: where they write, and how training continues without them."""

from __future__ import annotations

import importlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hifacegan_plugin.host.experiment import problems_of_folder
from hifacegan_plugin.host.workaround import training_modules, workaround
from hifacegan_plugin.schema.problem import Problem

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

_PAUSE = 60  # seconds for which events are dropped after an error


def problems_of_loggers(opt: dict[str, Any]) -> Iterator[Problem]:
    """Check that the loggers of a training can be imported and can write, and that wandb is used with TensorBoard."""
    wandb = (opt['logger'].get('wandb') or {}).get('project')
    tensorboard = opt['logger'].get('use_tb_logger')
    if wandb and not tensorboard:
        yield Problem(
            'logger: wandb shows what TensorBoard logs, which is off.', 'set use_tb_logger: true, or wandb: project: ~'
        )
    for wanted, module, without in (
        (tensorboard, 'torch.utils.tensorboard', 'use_tb_logger: false'),
        (wandb, 'wandb', 'wandb: project: ~'),
    ):
        if wanted:
            try:
                importlib.import_module(module)
            except ImportError as error:
                package = module.rpartition('.')[2]
                yield Problem(
                    f'logger: {package} cannot be imported ({error}).', f'pip install {package}, or set {without}'
                )
    if tensorboard and 'debug' not in opt['name']:  # the host does not log a training that is debugged
        yield from problems_of_folder('logger: use_tb_logger', tensorboard_folder(opt))


class ResilientWriter:
    """A TensorBoard writer that survives a full disk: after an error, it drops the events of a minute.

    The thread of a ``SummaryWriter`` ends at the first error, which every later call raises again. So the writer starts
    a new file, which TensorBoard shows together with the earlier ones.

    Args:
        writer: the ``SummaryWriter`` to call.
    """

    def __init__(self, writer: Any) -> None:
        self.writer = writer
        self.silent_until = 0.0

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.writer, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            if time.monotonic() < self.silent_until:
                return None
            try:
                return attribute(*arguments, **options)
            except OSError as error:
                logger.error(f'TensorBoard cannot be written ({error}). Training continues without it for a minute.')
                self._start_over()
                return None

        return call

    def _start_over(self) -> None:
        self.silent_until = time.monotonic() + _PAUSE
        with suppress(OSError):  # unwritten events are lost
            self.writer.close()
        self.writer.file_writer = self.writer.all_writers = None  # the next event opens a new file


@workaround(
    defect='TensorBoard files are written to site-packages if the host is installed with pip',
    fix='writes them to `./tb_logger`',
)
def keep_tensorboard_out_of_site_packages() -> None:
    """Write TensorBoard files below the current folder if the host is installed with pip.

    The host writes them below the parent of its package folder, which is then site-packages.
    """

    def wrapper(function: Callable[[str], Any]) -> Callable[..., Any]:
        def call_below_current_folder(path: str | None = None, *, log_dir: str | None = None) -> Any:
            return function(str(_outside_site_packages(Path(path or log_dir or ''))))

        return call_below_current_folder

    for train in training_modules():
        for function in ('init_tb_logger', 'mkdir_and_rename'):
            keep_tensorboard_out_of_site_packages.wrap(train, function, wrapper)


def tensorboard_folder(opt: dict[str, Any]) -> Path:
    """Return the folder of a training's TensorBoard files.

    Args:
        opt: the options of a training. The host adds ``root_path``, by default the current folder.
    """
    return _outside_site_packages(Path(opt.get('root_path', ''), 'tb_logger', opt['name']))


def _outside_site_packages(path: Path) -> Path:
    """Return the path, moved below the current folder if it is below the folder that pip installed the host into."""
    path = path.resolve()
    for train in training_modules():
        root = Path(str(train.__file__)).resolve().parents[1]
        installed = root.name in ('site-packages', 'dist-packages') or any(root.glob('basicsr*.dist-info'))
        if installed and path.is_relative_to(root):
            return Path.cwd() / path.relative_to(root)
    return path


@workaround(
    defect='training ends if TensorBoard cannot write, for example on a full disk',
    fix='drops events until there is space',
)
def survive_a_full_disk() -> None:
    """Continue training if TensorBoard files cannot be written; the host ends with the writer's error."""

    def wrapper(init_tb_logger: Callable[..., Any]) -> Callable[..., Any]:
        def init_resilient_tb_logger(**options: Any) -> ResilientWriter | None:
            writer = init_tb_logger(**options)
            return writer and ResilientWriter(writer)  # only the first process has one

        return init_resilient_tb_logger

    for train in training_modules():
        survive_a_full_disk.wrap(train, 'init_tb_logger', wrapper)


@workaround(
    defect='`wandb` 0.31 fails with an `AttributeError`',
    fix='generates the run id itself',
)
def generate_wandb_ids() -> None:
    """Draw run ids for releases of wandb without ``wandb.util.generate_id`` (0.31)."""

    def wrapper(init_wandb_logger: Callable[..., None]) -> Callable[..., Any]:
        def init_with_an_id(opt: dict[str, Any]) -> None:
            if opt['rank'] > 0:
                return
            import wandb

            if not hasattr(wandb.util, 'generate_id'):
                wandb.util.generate_id = lambda: secrets.token_hex(4)
            init_wandb_logger(opt)

        return init_with_an_id

    for train in training_modules():
        generate_wandb_ids.wrap(train, 'init_wandb_logger', wrapper)
