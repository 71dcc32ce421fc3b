"""What a process that ends with an error shows."""

import subprocess
import sys

import pytest
from basicsr.utils.registry import ARCH_REGISTRY
from host_training import DEMO, environment, small
from torch._utils import ExceptionWrapper

from hifacegan_plugin.images.channels import channels_of
from hifacegan_plugin.images.sources import find_images
from hifacegan_plugin.system.brief_errors import show_messages_alone
from hifacegan_plugin.weights import read_weights


def shown(function, capsys, monkeypatch, in_a_worker=False) -> str:
    monkeypatch.setattr(sys, 'excepthook', sys.excepthook)  # restored after the test
    show_messages_alone()
    try:
        try:
            function()
        except Exception:
            if not in_a_worker:
                raise
            ExceptionWrapper(where='in DataLoader worker process 0').reraise()
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
    return capsys.readouterr().err


@pytest.mark.parametrize('in_a_worker', [False, True])
def test_what_the_plugin_raises_is_shown_without_a_traceback(in_a_worker, capsys, monkeypatch, tmp_path):
    (tmp_path / 'a.pth').touch()
    for function, message in (
        (lambda: find_images('nowhere', 'disk'), 'dataroot_gt: nowhere does not exist\n'),
        (
            lambda: read_weights(tmp_path / 'a.pth'),
            f'{tmp_path}/a.pth: is empty (0 bytes). Copy or download it again.\n',
        ),
    ):
        assert shown(function, capsys, monkeypatch, in_a_worker) == message


@pytest.mark.parametrize('in_a_worker', [False, True])
@pytest.mark.parametrize('function', [lambda: channels_of({}), lambda: ARCH_REGISTRY.get('x'), lambda: int('x')])
def test_unexpected_errors_keep_their_traceback(function, in_a_worker, capsys, monkeypatch):
    text = shown(function, capsys, monkeypatch, in_a_worker)
    assert text.startswith('Traceback (most recent call last):\n') and 'Error: ' in text


def test_the_launcher_of_the_plugin_ends_with_the_message(small_lmdb, tmp_path):
    command = [
        '-m',
        'hifacegan_plugin.train',
        '-opt',
        DEMO,
        *small(small_lmdb, 1),
        'datasets:train:dataroot_gt=/nowhere',
    ]
    ended = subprocess.run(
        [sys.executable, *map(str, command)], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == 'dataroot_gt: /nowhere does not exist'
    assert 'Traceback' not in ended.stderr
