"""Tests of the folder of an experiment: checks before a training, lock, restoring its name."""

import errno
import re
import subprocess
import sys
from pathlib import Path

import basicsr.train
import pytest
import torch
from conftest import HANGS
from host_training import DEMO, NAME, TRAIN, run, small

from hifacegan_plugin.doctor.training import parse_as_host
from hifacegan_plugin.host import experiment
from hifacegan_plugin.host.starting import check_options

HOLDS_THE_LOCK = """
import os, sys, time
from pathlib import Path
from hifacegan_plugin.host import experiment
experiment.lock(Path(sys.argv[1]))
if os.fork() == 0:  # like a data worker
    time.sleep({seconds})
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep({seconds})
"""


def test_a_folder_is_locked_until_its_process_ends(tmp_path):
    folder = tmp_path / 'experiments/one'
    owner = subprocess.Popen(
        [sys.executable, '-c', HOLDS_THE_LOCK.format(seconds=HANGS), folder], stdout=subprocess.PIPE, text=True
    )
    try:
        number = owner.stdout.readline().strip()
        with pytest.raises(RuntimeError, match=rf'one is in use: process {number} on .+ writes into it'):
            experiment.lock(folder)
        experiment.lock(tmp_path / 'experiments/another')
    finally:
        owner.kill()
        owner.wait()
    experiment.lock(folder)


def test_a_file_system_without_locks_is_reported_and_used(tmp_path, monkeypatch, capsys):
    def has_none(*_: object) -> None:
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr('fcntl.lockf', has_none)
    experiment.lock(tmp_path / 'experiments/one')
    assert '.one.lock cannot be locked (No locks available)' in capsys.readouterr().err


@pytest.fixture
def opt(tmp_path) -> dict:
    folder = tmp_path / 'experiments/mine'
    return {
        'train': {'gan_opt': {'type': 'GANLoss'}},
        'path': {'models': str(folder / 'models'), 'training_states': str(folder / 'training_states')},
    }


def write_checkpoint(folder: Path, iteration: int) -> Path:
    for name in ('models', 'training_states'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for network in 'gd':
        torch.save({'params': {}}, folder / f'models/net_{network}_{iteration}.pth')
    state = folder / f'training_states/{iteration}.state'
    torch.save({'iter': iteration, 'epoch': 0, 'optimizers': [], 'schedulers': []}, state)
    return state


def test_a_state_of_the_experiment_is_accepted(opt, tmp_path):
    for iteration in (9, 10):
        write_checkpoint(tmp_path / 'experiments/mine', iteration)
    (tmp_path / 'experiments/mine/training_states/latest.state').touch()
    assert experiment.newest_state(opt).name == '10.state'
    opt['path']['resume_state'] = str(experiment.newest_state(opt))
    assert list(experiment.problems_of_resume_state(opt)) == []


def test_invalid_states_are_reported(opt, tmp_path):
    mine, other = (tmp_path / 'experiments' / name for name in ('mine', 'other'))
    assert experiment.newest_state(opt) is None
    damaged = tmp_path / 'damaged.state'
    damaged.write_bytes(b'half')
    state = write_checkpoint(mine, 4)
    refused = {
        write_checkpoint(other, 5): r'5\.state needs .*mine/models/net_g_5\.pth and .*net_d_5\.pth, which',
        mine / 'models/net_g_4.pth': r'net_g_4\.pth is not a training state\. -> name a \.state file',
        damaged: r'damaged\.state is damaged or not a training state',
        mine / 'training_states/7.state': r'7\.state does not exist',
    }
    for file, message in refused.items():
        opt['path']['resume_state'] = str(file)
        (problem,) = experiment.problems_of_resume_state(opt)
        assert re.match(f'path: resume_state: .*{message}', f'{problem.what} -> {problem.fix}')
    (mine / 'models/net_d_4.pth').unlink()
    opt['path']['resume_state'] = str(state)
    (problem,) = experiment.problems_of_resume_state(opt)
    assert 'net_d_4.pth, which does not exist' in problem.what and 'set name' in problem.fix
    del opt['train']['gan_opt']
    assert list(experiment.problems_of_resume_state(opt)) == []


@pytest.mark.parametrize(
    ('is_train', 'blocked', 'option'),
    [
        (True, 'experiments', 'path: experiments_root'),
        (True, 'experiments/NAME', 'path: experiments_root'),
        (True, 'tb_logger', 'logger: use_tb_logger'),
        (True, 'tb_logger/NAME', 'logger: use_tb_logger'),
        (True, 'results', 'path: results_root'),
        (False, 'results', 'path: results_root'),
        (False, 'results/NAME', 'path: results_root'),
        (False, 'experiments', 'path: experiments_root'),
    ],
)
def test_a_file_in_the_place_of_a_folder_is_named_before_anything_is_written(
    is_train, blocked, option, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    text = (DEMO if is_train else DEMO.with_name('test_hifacegan_demo.yml')).read_text()
    other = 'results' if is_train else 'experiments'  # the host makes this folder, too
    (tmp_path / 'options.yml').write_text(text.replace('\npath:\n', f'\npath:\n  {other}_root: {other}\n'))
    opt, _ = parse_as_host(tmp_path / 'options.yml', is_train)
    check_options(opt)
    file = tmp_path / blocked.replace('NAME', opt['name'])
    file.parent.mkdir(exist_ok=True)
    file.touch()
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(ValueError, match=f'^{option}: .*{file.name} is a file, not a folder: .* move the file away'):
        check_options(opt)
    assert sorted(tmp_path.rglob('*')) == before


def test_no_folder_is_made_for_an_option_without_a_value(tmp_path):
    root = str(tmp_path / 'mine')
    path = {'experiments_root': root, 'models': f'{root}/models', 'results_root': None, 'pretrain_network_g': None}
    basicsr.train.make_exp_dirs({'is_train': True, 'rank': 0, 'path': path})
    assert [file.name for file in tmp_path.rglob('*')] == ['mine', 'models']


STARTS = """
import sys
from pathlib import Path
from hifacegan_plugin.host import experiment
folder = Path('mine [1]')
with experiment.remember_renaming(folder):
    folder.rename('mine [1]_archived_1')
    folder.mkdir()
(folder / 'train.log').touch()
print(sorted(path.name for path in Path().iterdir()), flush=True)
"""


@pytest.mark.parametrize(
    ('then', 'stays'),
    [
        ('raise ValueError("on purpose")', False),
        ('import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)', False),
        ('(folder / "models").mkdir(); (folder / "models/net_g_1.pth").touch(); raise ValueError', True),
        ('experiment.training_began(); raise ValueError', True),
    ],
)
def test_a_failed_start_restores_the_name_of_the_folder(then, stays, tmp_path):
    (tmp_path / 'mine [1]').mkdir()
    (tmp_path / 'mine [1]/before').touch()
    code = [sys.executable, '-c', STARTS + then]
    result = subprocess.run(code, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert result.returncode != 0
    assert result.stdout.strip() == "['mine [1]', 'mine [1]_archived_1']"
    folders = {path.name: (path / 'before').exists() for path in tmp_path.iterdir()}
    assert folders == ({'mine [1]': False, 'mine [1]_archived_1': True} if stays else {'mine [1]': True})
    assert ('Training did not begin' in result.stderr) != stays


def test_a_failed_or_second_start_does_not_move_the_folder_of_a_training(small_lmdb, tmp_path):
    run([*TRAIN, *small(small_lmdb, 2)], tmp_path)
    files = sorted((tmp_path / NAME).rglob('*'))

    def refused(*overrides: object) -> str:
        result = subprocess.run(
            list(map(str, [*TRAIN, *small(small_lmdb, 2), *overrides])),
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=False,
        )
        assert result.returncode == 1
        name = Path(NAME).name
        assert {path.name for path in (tmp_path / 'experiments').iterdir()} == {name, f'.{name}.lock'}
        assert sorted((tmp_path / NAME).rglob('*')) == files
        return result.stderr

    wrong = refused('logger:print_freq=0', 'val:save_img=~')
    for line in (
        'val: save_img is missing. -> add it: true or false',
        'logger: print_freq: give a whole number from 1 up (iterations), not 0. -> correct it',
    ):
        assert line in wrong
    assert 'Traceback' not in wrong
    assert 'does not exist' in refused('datasets:train:dataroot_gt=/nowhere')  # which is checked later
    owner = subprocess.Popen(
        [sys.executable, '-c', HOLDS_THE_LOCK.format(seconds=HANGS), tmp_path / NAME], stdout=subprocess.PIPE, text=True
    )
    try:
        number = owner.stdout.readline().strip()
        message = refused()
        assert f'is in use: process {number} on ' in message
        assert 'Traceback' not in message
    finally:
        owner.kill()
        owner.wait()
