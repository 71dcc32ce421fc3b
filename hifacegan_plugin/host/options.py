"""How the host reads options: from the command line, and from files."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hifacegan_plugin.host.accommodation import accommodation, own_module

_NUMBER = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')


def check_options_file() -> None:
    """Exit with a message where ``-opt`` on the command line names no file; the host takes its name for the options.

    Raises:
        SystemExit: there is no such file.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('-opt')
    file = parser.parse_known_args()[0].opt
    if file and not Path(file).is_file():
        raise SystemExit(f'-opt {file}: there is no such file.')


@accommodation(
    defect='a list of roots under `dataroot_gt` is refused',
    answer='expands `~` in each',
)
def accept_lists_of_roots() -> None:
    """Allow ``dataroot_gt: [a.lmdb, b.lmdb]``."""
    from basicsr.utils import options

    def wrapper(expanduser: Callable[[str], str]) -> Callable[..., Any]:
        def expand_each(path: str | list[str]) -> str | list[str]:
            return [expanduser(one) for one in path] if isinstance(path, list) else expanduser(path)

        return expand_each

    accept_lists_of_roots.wrap(own_module(options, 'osp'), 'expanduser', wrapper)


@accommodation(
    defect='`--force_yml` reads `1e-5` and `-1` as text',
    answer='reads them as numbers',
)
def read_numbers_of_the_command_line() -> None:
    """Read every decimal number after ``--force_yml`` as a number."""
    from basicsr.utils import options

    def wrapper(postprocess: Callable[[str], Any]) -> Callable[..., Any]:
        def read_number_or(value: str) -> Any:
            if not _NUMBER.fullmatch(value):
                return postprocess(value)
            return float(value) if set('.eE') & set(value) else int(value)

        return read_number_or

    read_numbers_of_the_command_line.wrap(options, '_postprocess_yml_value', wrapper)


@accommodation(
    defect='`--debug` fails with `val: ~`',
    answer='leaves `val` out where the plugin is imported before the options are read '
    '(`python -m hifacegan_plugin.train`)',
)
def allow_debugging_without_validation() -> None:
    """Leave out an empty ``val``.

    Where the host's own command reads the options file, this comes too late: its reading is what imports the plugin.
    """
    from basicsr.utils import options

    def wrapper(yaml_load: Callable[[str], Any]) -> Callable[..., Any]:
        def load_without_empty_val(file: str) -> Any:
            opt = yaml_load(file)
            if isinstance(opt, dict) and 'val' in opt and opt['val'] is None:
                del opt['val']
            return opt

        return load_without_empty_val

    allow_debugging_without_validation.wrap(options, 'yaml_load', wrapper)
