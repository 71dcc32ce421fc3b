"""Tests of how the host reads options after the plugin is imported."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import basicsr.test
import basicsr.train
import numpy as np
import pytest
import torch
from basicsr.utils.options import parse_options
from conftest import REPOSITORY

from hifacegan_plugin.host.options import accept_local_rank, check_options_file


def test_an_options_file_may_list_several_roots(monkeypatch, tmp_path):
    file = tmp_path / 'options.yml'
    file.write_text(
        (REPOSITORY / 'options/hifacegan_demo.yml')
        .read_text()
        .replace('dataroot_gt: datasets/demo/train.lmdb', 'dataroot_gt: [~/a.lmdb, b.lmdb]')
    )
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    opt, _ = parse_options(str(tmp_path))
    assert opt['datasets']['train']['dataroot_gt'] == [str(Path.home() / 'a.lmdb'), 'b.lmdb']
    assert opt['datasets']['val']['dataroot_gt'] == 'datasets/demo/heldout.lmdb'


@pytest.mark.parametrize('is_train', [True, False])
@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('name: HiFaceGAN_demo', 'name: 2024', "name: YAML does not read 2024 as text: put it in quotes, as '2024'"),
        (
            'dataroot_gt: datasets/demo/train.lmdb',
            'dataroot_gt: [7]',
            'dataroot_gt, dataroot_lq or path: YAML does not read 7 as text',
        ),
        (
            '  experiments_root: experiments',
            '  results_root: 1\n  experiments_root: 1',
            'path: YAML does not read 1 as text',
        ),
    ],
)
def test_numbers_for_names_and_paths_are_refused(old, new, message, is_train, monkeypatch, tmp_path):
    file, text = tmp_path / 'options.yml', (REPOSITORY / 'options/hifacegan_demo.yml').read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    with pytest.raises(SystemExit, match=message):
        parse_options(str(tmp_path), is_train)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1e-5', 1e-5),
        ('-1', -1),
        ('+2.5E3', 2500.0),
        ('.5', 0.5),
        ('7', 7),
        ('1e-5x', '1e-5x'),
        ('1.2.3', '1.2.3'),
        ('00001.png', '00001.png'),
        ('-', '-'),
        ('~', None),
        ('[1e-3, 2]', [1e-3, 2]),
    ],
)
def test_numbers_on_the_command_line_are_numbers(text, value, monkeypatch):
    file = REPOSITORY / 'options/hifacegan_demo.yml'
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file), '--force_yml', f'train:ema_decay={text}'])
    read = parse_options('.')[0]['train']['ema_decay']
    assert (read, type(read)) == (value, type(value))


def test_a_seed_on_the_command_line_seeds_the_training(monkeypatch, small_lmdb, tmp_path):
    file = REPOSITORY / 'options/hifacegan_demo.yml'

    def drawn(*forced: str) -> list[float]:
        forced = (f'datasets:train:dataroot_gt={small_lmdb}', f'datasets:val:dataroot_gt={small_lmdb}', *forced)
        monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file), '--force_yml', *forced])
        opt = parse_options(str(tmp_path))[0]
        assert basicsr.train.load_resume_state(opt) is None
        return [torch.rand(1).item(), np.random.rand(), random.random()]

    with torch.random.fork_rng():
        default, other = drawn(), drawn('manual_seed=7')
        assert drawn('manual_seed=7') == other
    assert not set(default) & set(other)


def test_a_seed_on_the_command_line_decides_the_random_numbers_of_a_test(monkeypatch, small_lmdb, tmp_path):
    monkeypatch.chdir(tmp_path)
    file = REPOSITORY / 'options/test_hifacegan_demo.yml'

    def drawn(seed: int, results: str) -> list[float]:
        forced = (f'datasets:test:dataroot_gt={small_lmdb}', f'path:results_root={results}', f'manual_seed={seed}')
        monkeypatch.setattr(sys, 'argv', ['test.py', '-opt', str(file), '--force_yml', *forced])
        basicsr.test.make_exp_dirs(parse_options(str(tmp_path), is_train=False)[0])
        return [torch.rand(1).item(), np.random.rand(), random.random()]

    with torch.random.fork_rng():
        one, other = drawn(1, 'a'), drawn(7, 'b')
        assert drawn(7, 'c') == other
    assert not set(one) & set(other)


@pytest.mark.parametrize(
    ('name', 'forced', 'message'),
    [
        (
            'hifacegan_demo',
            ['network_g:num_in_ch=4', 'network_d:num_in_ch=4', 'network_d:num_out_ch=4'],
            ': num_in_ch: ',
        ),
        ('hifacegan_demo', ['network_d:num_d=7'], ': gt_size: '),
        ('hifacegan_demo', ['network_g:num_feat=0'], '^network_g: CSRGenerator: num_feat: 0'),
        ('hifacegan_demo', ['network_d:num_d=0'], '^network_d: MultiscalePatchDiscriminator: num_d: 0'),
        ('hifacegan_demo', ['train:progressive=[5]'], '^train: progressive: network_g: preset: fast cannot grow'),
        ('test_hifacegan_demo', ['network_g:num_in_ch=4'], ': num_in_ch: '),
        ('hifacegan_demo', ['path:experiments_root={file}'], ': experiments_root: '),
        ('test_hifacegan_demo', ['path:results_root={file}'], ': results_root: '),
        ('hifacegan_demo', ['model_type=HiFaceGANCSRModle'], "^model_type: there is no 'HiFaceGANCSRModle'"),
        ('hifacegan_demo', ['datasets:val:type=DegradedDataset'], "^datasets: val: there is no 'DegradedDataset'"),
        ('hifacegan_demo', ['network_d:type=PatchDiscriminator'], "^network_d: there is no 'PatchDiscriminator'"),
        ('hifacegan_demo', ['train:pixel_opt:type=L1'], "^train: pixel_opt: there is no 'L1'"),
        (
            'hifacegan_demo',
            ['train:gan_opt:los_weight=1'],
            "^train: gan_opt: MultiScaleGANLoss has no option 'los_weight'",
        ),
        ('hifacegan_demo', ['train:optim_g:beta=1'], "^train: optim_g: Adam has no option 'beta'"),
        ('hifacegan_demo', ['train:optim_g:lr=~'], '^train: optim_g: lr is missing'),
        ('hifacegan_demo', ['train:scheduler:type=LinearLR'], "^train: scheduler: there is no 'LinearLR'"),
        ('test_hifacegan_demo', ['val:metrics:psnr:type=psnr'], "^val: metrics: psnr: there is no 'psnr'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(name, forced, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').touch()
    forced = [option.format(file=tmp_path / 'file') for option in forced]
    monkeypatch.setattr(
        sys, 'argv', ['basicsr', '-opt', str(REPOSITORY / f'options/{name}.yml'), '--force_yml', *forced]
    )
    is_train = not name.startswith('test')
    opt, _ = parse_options(str(tmp_path), is_train)
    with pytest.raises(SystemExit, match=message):
        basicsr.train.load_resume_state(opt) if is_train else basicsr.test.make_exp_dirs(opt)
    assert [path.name for path in tmp_path.iterdir()] == ['file']


@pytest.mark.parametrize('rank', [['--local-rank=1'], ['--local-rank', '1'], ['--local_rank=1']])
def test_the_rank_that_torch_passes_is_accepted(rank, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'argv', ['train.py', *rank, '-opt', str(REPOSITORY / 'options/hifacegan_demo.yml')])
    accept_local_rank()
    assert parse_options(str(tmp_path))[1].local_rank == 1


def test_debugging_needs_no_validation(monkeypatch, tmp_path):
    file = tmp_path / 'options.yml'
    text = (REPOSITORY / 'options/hifacegan_demo.yml').read_text()
    file.write_text(text.replace('\nval:\n', '\nval: ~\nunused:\n'))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file), '--debug'])
    opt, _ = parse_options(str(tmp_path))
    assert 'val' not in opt
    assert opt['logger']['save_checkpoint_freq'] == 8


def test_the_launcher_of_tests_reports_a_missing_options_file(tmp_path):
    command = [sys.executable, '-m', 'hifacegan_plugin.test', '-opt', 'opitons.yml']
    result = subprocess.run(
        command,
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
        env=os.environ | {'PYTHONPATH': str(REPOSITORY)},
    )
    message = 'cannot be read: No such file or directory. -> check the path, which is relative to the current folder'
    assert (result.returncode, result.stderr) == (1, f'-opt opitons.yml {message}\n')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'holds no options'),
        (b'{}', 'holds no options'),
        (b'- name: x', 'holds no options'),
        (b'name: x\n\tscale: 1', 'cannot be read as YAML'),
        (b'name: caf\xe9', 'is not text in UTF-8.* -> save it as UTF-8'),
    ],
)
def test_the_launchers_refuse_a_file_without_options(content, message, monkeypatch, tmp_path):
    file = tmp_path / 'options.yml'
    file.write_bytes(content)
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    with pytest.raises(SystemExit, match=f'^-opt {re.escape(str(file))} {message}'):
        check_options_file()
