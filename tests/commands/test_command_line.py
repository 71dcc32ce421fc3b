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
