"""Tests of messages of the command line."""

import re
import subprocess
import sys

import pytest

from hifacegan_plugin.__main__ import COMMANDS, main


def test_without_a_command_all_commands_are_listed(capsys):
    assert main([]) == 2
    listed = capsys.readouterr().err
    assert all(f'  {name} ' in listed for group in COMMANDS.values() for name in group)


def test_a_missing_package_is_reported_with_a_hint_at_the_doctor():
    code = """
import sys
sys.modules['torch'] = None
from hifacegan_plugin.__main__ import main
print(main(['restore', '-i', 'a', '-o', 'b']), main(['doctor']))
"""
    ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r'hifacegan restore: .*torch.*\(`hifacegan doctor` says what .*\)\n', ended.stderr)
    assert re.search(r'WRONG: .*torch', ended.stdout) and ended.stdout.endswith('\n2 1\n')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['restor'], "hifacegan: argument COMMAND: invalid choice: 'restor'"),
        (['models', '--colour'], 'hifacegan: unrecognized arguments: --colour'),
        (['models', '-h', '--colour'], None),
        (['restore', '-i', 'a.png', '-o', ''], 'hifacegan: an argument is empty'),
        (['lmdb', '--input=', '-o', 'a.lmdb'], 'hifacegan: an argument is empty'),
        (['split', '-i', 'a', '--seed', 'b'], "hifacegan split: argument --seed: invalid int value: 'b'"),
    ],
)
def test_errors_come_before_the_hint_at_the_help(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr().err
    assert end.value.code == (2 if message else 0)
    if message:
        assert said.startswith(message) and said.endswith('--help explains the options.\n')
        assert 'usage' not in said
    else:
        assert said == ''


WRITES_A_FILE = {
    'convert': ['-w', 'net_g.safetensors', '-o'],
    'export': ['-w', 'net_g.safetensors', '--to', 'onnx', '-o'],
    'init': ['mine', '-i', '.', '--overwrite', '-o'],
    'inspect-degradations': ['-i', 'a.png', '-o'],
    'restore': ['-i', '.', '-o', 'out', '--faces', '--report'],
}


@pytest.mark.parametrize('command', WRITES_A_FILE)
@pytest.mark.parametrize(
    ('output', 'message'),
    [
        ('folder', 'expected a file, not a folder'),
        ('file/sub/x', '{here}/file is not a folder'),
        ('x' * 300, 'File name too long'),
    ],
)
def test_a_file_to_write_is_not_a_folder_nor_below_a_file(command, output, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('of the user')
    with pytest.raises(SystemExit, match='2'):
        main([command, *WRITES_A_FILE[command], output])
    assert f'{output!r}: {message.format(here=tmp_path)}\n' in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['file', 'folder']
