"""What the command line says where it is not given what it needs."""

import pytest

from hifacegan_plugin.__main__ import COMMANDS, main


def test_without_a_command_all_are_listed(capsys):
    assert main([]) == 2
    listed = capsys.readouterr().err
    assert all(f'  {name} ' in listed for group in COMMANDS.values() for name in group)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['restor'], "hifacegan: argument COMMAND: invalid choice: 'restor'"),
        (['models', '--colour'], 'hifacegan: unrecognized arguments: --colour'),
        (['models', '-h', '--colour'], None),
        (['split', '-i', 'a', '--seed', 'b'], "hifacegan split: argument --seed: invalid int value: 'b'"),
    ],
)
def test_an_error_is_said_first_and_then_what_explains_the_options(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr().err
    assert end.value.code == (2 if message else 0)
    if message:
        assert said.startswith(message) and said.endswith('--help explains the options.\n')
        assert 'usage' not in said
    else:
        assert said == ''
