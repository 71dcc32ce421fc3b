"""Tests of Ctrl-C during every command."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import cv2
import pytest
import yaml
from conftest import HANGS
from host_training import start
from skimage import data

from hifacegan_plugin.__main__ import COMMANDS, main
from hifacegan_plugin.weights import generator_options, write_weights

# Arguments of each command, and a function that it calls while it works.
RUNS = {
    'restore': ('-i photographs -o out', 'pathlib.Path.replace'),  # a result is written, but not renamed yet
    'models': ('', 'hifacegan_plugin.commands.models.read_card'),
    'align': ('-i photographs -o out/faces.lmdb --jobs 1', 'os.fsync'),
    'lmdb': ('-i photographs -o out/data.lmdb', 'os.fsync'),
    'pairs': ('-i photographs -o out/pairs --recipe noise --jobs 1', 'os.fsync'),
    'split': ('-i photographs -o out --parts train=0.5 test=0.5', 'pathlib.Path.replace'),
    'verify-lmdb': ('small.lmdb --jobs 1', 'concurrent.futures.Future.result'),
    'inspect-degradations': ('-i photographs/0.png -o out/sheet.png', 'pathlib.Path.replace'),
    'init': ('mine -i photographs -o out/mine.yml --degradation noise --memory 8', 'pathlib.Path.replace'),
    'doctor': ('', 'hifacegan_plugin.doctor.environment.describe'),
    'report': ('-opt trial.yml', 'pathlib.Path.replace'),
    'stages': ('-i photographs/0.png -w net_g.safetensors -o out', 'pathlib.Path.replace'),
    'compare': ('-opt compare.yml -o out/compared', 'hifacegan_plugin.compare.runner.run_job'),
    'convert': ('-w net_g.safetensors -o out/b.safetensors', 'pathlib.Path.replace'),
    'export': ('-w net_g.safetensors --to onnx -o out/a.onnx', 'pathlib.Path.replace'),
    'completion': ('', 'hifacegan_plugin.commands.completion._cases_of'),
}
BUILDS = ('align', 'lmdb', 'pairs')  # keep their work in a hidden folder

COMPARISON = {
    'name': 'test',
    'datasets': {
        'degraded': {
            'type': 'DegradationDataset',
            'dataroot_gt': 'small.lmdb',
            'io_backend': {'type': 'lmdb'},
            'degradation': 'noise',
        }
    },
    'restorers': {'general': {'pretrain_network_g': 'net_g.safetensors'}},
    'metrics': {'PSNR': {'type': 'calculate_psnr', 'crop_border': 0}},
}
TEST = {
    'name': 'trial',
    'model_type': 'HiFaceGANCSRModel',
    'num_gpu': 0,
    'path': {},
    'network_g': {'type': 'CSRGenerator'},
    'datasets': {
        'test': {
            'name': 'set',
            'type': 'PairedImageDataset',
            'dataroot_gt': 'photographs',
            'dataroot_lq': 'photographs',
            'io_backend': {'type': 'disk'},
        }
    },
    'val': {'save_img': True, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
}


@pytest.fixture
def workplace(tmp_path, small_lmdb, lively_generator, monkeypatch):
    """A folder with the inputs of all commands; ``out`` is empty."""
    monkeypatch.chdir(tmp_path)
    for folder in ('photographs', 'out', 'results/trial/visualization/set'):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(2):
        image = data.astronaut()[50 * number :][:128, 160:288, ::-1]
        cv2.imwrite(f'photographs/{number}.png', image)
        cv2.imwrite(f'results/trial/visualization/set/{number}_trial.png', image)
    (tmp_path / 'small.lmdb').symlink_to(small_lmdb)
    network = lively_generator()
    write_weights('net_g.safetensors', network.state_dict(), generator_options(network))
    for file, options in (('compare.yml', COMPARISON), ('trial.yml', TEST)):
        (tmp_path / file).write_text('plugin: !!python/name:hifacegan_plugin.__version__\n' + yaml.safe_dump(options))
    return tmp_path


def test_every_command_is_tested():
    ends_its_own_process = {'app'}  # tests/app interrupts it
    assert set(RUNS) == {name for group in COMMANDS.values() for name in group} - ends_its_own_process


@pytest.mark.parametrize('command', RUNS)
def test_ctrl_c_leaves_no_incomplete_files_and_says_how_to_continue(command, workplace, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        came.append(command)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    typed, function = RUNS[command]
    came = []
    with monkeypatch.context() as patch:
        patch.setattr(function, interrupted)
        status = main([command, *typed.split()])
    assert came, 'the command did not call it'
    assert status == 130
    message = capsys.readouterr().err
    assert f'hifacegan {command}: stopped; ' in message
    assert ('--resume' in message) == (command in (*BUILDS, 'restore', 'compare'))
    assert [path for path in workplace.glob('**/*') if '.part.' in path.name] == []
    if command != 'compare':  # keeps its results for --resume
        files = [path.relative_to(workplace / 'out') for path in workplace.glob('out/**/*') if path.is_file()]
        assert [file for file in files if command not in BUILDS or file.parts[0][0] != '.'] == []


@pytest.mark.heavy
@pytest.mark.parametrize('moment', ['while the host is loaded', 'while images are restored'])
def test_ctrl_c_ends_all_processes_of_a_comparison(workplace, moment):
    """A terminal sends the signal to all of them."""

    def reached():
        if moment == 'while the host is loaded':
            return 'Loading' in output.read_text() and len(processes_of_group(process.pid)) > 1
        return list(workplace.glob('out/progress/*/*.restored.jsonl'))

    output = workplace / 'output'
    command = [sys.executable, '-m', 'hifacegan_plugin', 'compare', '-opt', 'compare.yml', '-o', 'out']
    process = start(command, workplace, output)
    deadline = time.monotonic() + HANGS
    while process.poll() is None and not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(HANGS) == 130, output.read_text()
    while processes_of_group(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert 'Traceback' not in output.read_text()
    assert 'hifacegan compare: stopped; with --resume' in output.read_text()


@pytest.mark.heavy
def test_killing_a_comparison_ends_all_its_processes(workplace):
    slow = {**COMPARISON, 'restorers': {'slow': {'type': 'fast_nl_means', 'search': 301}}}
    Path('slow.yml').write_text(yaml.safe_dump(slow))
    command = [sys.executable, '-m', 'hifacegan_plugin', 'compare', '-opt', 'slow.yml', '-o', 'out']
    process = start(command, workplace, workplace / 'output')
    deadline = time.monotonic() + HANGS
    while not list(workplace.glob('out/progress/*/*.restored.jsonl')):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    while processes_of_group(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not list(workplace.glob('out/progress/*.summary.json'))  # the work was not complete


def processes_of_group(number):
    """Return the processes of a process group (proc(5): pid, name in brackets, state, parent, group)."""
    found = []
    for file in Path('/proc').glob('[0-9]*/stat'):
        with suppress(OSError):  # the process has ended
            state, _, group = file.read_text().rpartition(')')[2].split()[:3]
            found += [file.parent.name] if int(group) == number and state != 'Z' else []
    return found
