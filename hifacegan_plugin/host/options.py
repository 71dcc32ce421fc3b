"""Reading options from the command line and from files."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hifacegan_plugin.host.workaround import private_copy, workaround
from hifacegan_plugin.schema.reading import read_options

_NUMBER = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')


def check_options_file() -> None:
    """Exit with a message if ``-opt`` on the command line does not name an options file.

    Raises:
        SystemExit: the file is missing, is not valid YAML, or holds no options.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('-opt')
    file = parser.parse_known_args()[0].opt
    if file:
        options, problems = read_options(Path(file))
        if not options:
            raise SystemExit('\n'.join(f'-opt {problem.what} -> {problem.fix}' for problem in problems))


def accept_local_rank() -> None:
    """Accept ``--local-rank``, which ``torch.distributed.launch`` passes since torch 2.0.

    The host declares ``--local_rank`` and does not use it.
    """
    sys.argv = [re.sub(r'^--local-rank(?==|$)', '--local_rank', argument) for argument in sys.argv]


@workaround(
    defect='a list under `dataroot_gt`, and a number as a name or path (`name: 2024`), end in a bare `TypeError`',
    fix='accepts lists, with `~` in each root; rejects numbers with a clear message',
)
def read_lists_of_roots_and_refuse_numbers() -> None:
    """Allow ``dataroot_gt: [a.lmdb, b.lmdb]``; exit with a message if a name or path is not text to YAML."""
    from basicsr.utils import options

    def of_join(join: Callable[..., str]) -> Callable[..., Any]:
        def join_text(root: object, *parts: object) -> str:  # the host first joins a root and the name
            _exit_unless_text(root, 'path')
            for part in parts:
                _exit_unless_text(part, 'name')
            return join(root, *parts)

        return join_text

    def of_expanduser(expanduser: Callable[[Any], str]) -> Callable[..., Any]:
        def expand_each(path: object) -> str | list[str]:
            roots = path if isinstance(path, list) else [path]
            for root in roots:
                _exit_unless_text(root, 'dataroot_gt, dataroot_lq or path')
            return [expanduser(root) for root in roots] if isinstance(path, list) else expanduser(path)

        return expand_each

    read_lists_of_roots_and_refuse_numbers.wrap(private_copy(options, 'osp'), 'join', of_join)
    read_lists_of_roots_and_refuse_numbers.wrap(private_copy(options, 'osp'), 'expanduser', of_expanduser)


def _exit_unless_text(value: object, option: str) -> None:
    if not isinstance(value, (str, os.PathLike)):
        raise SystemExit(
            f"{option}: YAML does not read {value!r} as text: put it in quotes, as '{value}', or correct it."
        )


@workaround(
    defect='`--force_yml` reads `1e-5` and `-1` as text',
    fix='reads them as numbers',
)
def read_numbers_after_force_yml() -> None:
    """Read all decimal numbers after ``--force_yml`` as numbers."""
    from basicsr.utils import options

    def wrapper(postprocess: Callable[[str], Any]) -> Callable[..., Any]:
        def read_number(value: str) -> Any:
            if not _NUMBER.fullmatch(value):
                return postprocess(value)
            return float(value) if set('.eE') & set(value) else int(value)

        return read_number

    read_numbers_after_force_yml.wrap(options, '_postprocess_yml_value', wrapper)


@workaround(
    defect='`--debug` fails with `val: ~`',
    fix='removes `val` if the plugin is imported before the options are read (`python -m hifacegan_plugin.train`)',
)
def allow_debugging_without_validation() -> None:
    """Remove an empty ``val``.

    This has no effect with ``python -m basicsr.train``, which imports the plugin only while it reads the file.
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
