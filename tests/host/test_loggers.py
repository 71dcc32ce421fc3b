"""Tests of TensorBoard and wandb: a full disk, folders, missing packages."""

import re
import sys
import types

import basicsr.train
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import SummaryWriter

from hifacegan_plugin.host import loggers


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')  # in the writer's thread
def test_a_full_disk_loses_only_some_events(tmp_path, monkeypatch, caplog):
    now, full, write = [0.0], [False], RecordWriter.write
    monkeypatch.setattr(loggers.time, 'monotonic', lambda: now[0])

    def write_if_there_is_room(self, data):
        if full[0]:
            raise OSError(28, 'No space left on device')
        write(self, data)

    monkeypatch.setattr(RecordWriter, 'write', write_if_there_is_room)
    writer = loggers.ResilientWriter(SummaryWriter(tmp_path))
    assert writer.log_dir == tmp_path
    writer.add_scalar('loss', 1.0, 1)
    writer.flush()
    full[0] = True
    for step in range(2, 50):
        writer.add_scalar('loss', 1.0, step)
    writer.flush()  # the thread has raised the error
    assert caplog.text.count('TensorBoard cannot be written') == 1
    full[0] = False
    writer.add_scalar('loss', 1.0, 50)  # within a minute
    now[0] = 61
    writer.add_scalar('loss', 1.0, 51)
    writer.close()
    assert [scalar.step for scalar in EventAccumulator(str(tmp_path)).Reload().Scalars('loss')] == [1, 51]
    assert len(list(tmp_path.iterdir())) == 2


def test_wandb_versions_without_random_ids_get_one(monkeypatch):
    begun = {}
    wandb = types.ModuleType('wandb')
    wandb.util = types.ModuleType('wandb.util')
    wandb.init = lambda **options: begun.update(options)
    monkeypatch.setitem(sys.modules, 'wandb', wandb)
    basicsr.train.init_wandb_logger({'name': 'mine', 'rank': 0, 'logger': {'wandb': {'project': 'faces'}}})
    assert begun['project'] == 'faces'
    assert len(begun['id']) == 8
    wandb.util.generate_id = lambda: 'of wandb'
    basicsr.train.init_wandb_logger({'name': 'mine', 'rank': 0, 'logger': {'wandb': {'project': 'faces'}}})
    assert begun['id'] == 'of wandb'


@pytest.mark.parametrize('installed', [True, False])
def test_tensorboard_files_are_not_written_to_the_hosts_folder(installed, tmp_path, monkeypatch):
    """As with ``pip install --target``, unlike a clone of the host."""
    root = tmp_path / 'packages'
    (root / ('basicsr_fixed-1.4.2.dist-info' if installed else 'options')).mkdir(parents=True)
    train = types.SimpleNamespace(
        __file__=str(root / 'basicsr/train.py'),
        init_tb_logger=lambda log_dir: log_dir,
        mkdir_and_rename=lambda path: path,
    )
    monkeypatch.setattr(loggers, 'training_modules', lambda: [train])
    monkeypatch.chdir(tmp_path)
    loggers.keep_tensorboard_out_of_site_packages.apply()
    assert train.mkdir_and_rename(f'{root}/tb_logger/mine') == str((tmp_path if installed else root) / 'tb_logger/mine')


def test_wandb_needs_tensorboard_and_both_need_their_packages(tmp_path, monkeypatch):
    logger = {'wandb': {'project': 'mine'}, 'use_tb_logger': True}

    def problems() -> list[str]:
        found = loggers.problems_of_loggers({'name': 'mine', 'logger': logger})
        return [f'{problem.what} -> {problem.fix}' for problem in found]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, 'wandb', None)  # not installed
    (without_wandb,) = problems()
    assert re.match(r'logger: wandb cannot be imported .* -> pip install wandb, or set wandb: p', without_wandb)
    logger['use_tb_logger'] = False
    without_tensorboard, again = problems()
    assert re.match(r'logger: wandb .* -> set use_tb_logger: true', without_tensorboard) and again == without_wandb
    logger['use_tb_logger'] = True
    monkeypatch.setitem(sys.modules, 'wandb', types.ModuleType('wandb'))
    assert problems() == []
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    (problem,) = problems()
    assert re.match(r'logger: tensorboard cannot be imported .* -> pip install tensorboard, or', problem)
