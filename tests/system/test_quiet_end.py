"""Commands whose output nobody reads to its end, and commands that are interrupted."""

import os
import signal
import subprocess
import sys

import pytest

from hifacegan_plugin.system.quiet_end import end_quietly


def run_without_reader(code: str) -> subprocess.CompletedProcess:
    """Run Python code whose standard output is a pipe that nobody reads."""
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
        (['--help'], {0, 128 + signal.SIGPIPE}),  # 0 where argparse is the first to notice
        (['doctor'], {128 + signal.SIGPIPE}),
    ],
)
def test_a_command_ends_without_a_word_where_nobody_reads(arguments, statuses):
    code = 'import sys; from hifacegan_plugin.__main__ import main; sys.exit(main({}))'
    result = run_without_reader(code.format(arguments))
    assert result.stderr == ''
    assert result.returncode in statuses


def test_another_broken_pipe_is_an_error():
    def feed_a_program_that_has_ended() -> int:
        raise BrokenPipeError('ffmpeg')

    with pytest.raises(BrokenPipeError, match='ffmpeg'):
        end_quietly(feed_a_program_that_has_ended)


@pytest.mark.parametrize(('encoding', 'escaped'), [('utf-8', r'写 \udcff'), ('ascii', r'\u5199 \udcff')])
def test_names_that_the_output_cannot_hold_are_escaped(encoding, escaped):
    """Such as of files that were named in another encoding."""
    code = (
        r"from hifacegan_plugin.system.quiet_end import end_quietly; end_quietly(lambda: print('\u5199 \udcff') or 0)"
    )
    environment = os.environ | {'PYTHONIOENCODING': f'{encoding}:strict'}
    printed = subprocess.check_output([sys.executable, '-c', code], env=environment)
    assert printed.decode(encoding) == f'{escaped}\n'


def test_ctrl_c_ends_without_a_word():
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert end_quietly(interrupted) == 130
