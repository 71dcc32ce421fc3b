"""Tests of commands that are interrupted or have unread output."""

import os
import signal
import subprocess
import sys

import pytest

from hifacegan_plugin.system.quiet_end import end_quietly


def run_without_reader(code: str) -> subprocess.CompletedProcess:
    """Run Python code with a pipe without a reader as its standard output."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, '-c', code]
        return subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    ('arguments', 'statuses'),
    [
        (['--help'], {0, 128 + signal.SIGPIPE}),  # 0 if argparse handles the error
        (['doctor'], {128 + signal.SIGPIPE}),
    ],
)
def test_no_message_if_the_output_is_not_read(arguments, statuses):
    code = 'import sys; from hifacegan_plugin.__main__ import main; sys.exit(main({}))'
    result = run_without_reader(code.format(arguments))
    assert result.stderr == ''
    assert result.returncode in statuses


def test_another_broken_pipe_is_an_error():
    def write_to_broken_pipe() -> int:
        raise BrokenPipeError('ffmpeg')

    with pytest.raises(BrokenPipeError, match='ffmpeg'):
        end_quietly(write_to_broken_pipe)


@pytest.mark.parametrize(('encoding', 'escaped'), [('utf-8', r'写 \udcff'), ('ascii', r'\u5199 \udcff')])
def test_characters_that_the_encoding_lacks_are_escaped(encoding, escaped):
    """For example, in names of files that use another encoding."""
    code = (
        r"from hifacegan_plugin.system.quiet_end import end_quietly; end_quietly(lambda: print('\u5199 \udcff') or 0)"
    )
    environment = os.environ | {'PYTHONIOENCODING': f'{encoding}:strict'}
    printed = subprocess.check_output([sys.executable, '-c', code], env=environment)
    assert printed.decode(encoding) == f'{escaped}\n'


def test_exit_status_on_ctrl_c():
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert end_quietly(interrupted) == 130
