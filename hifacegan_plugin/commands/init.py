"""Write an options file to train on your own images, and check it with the doctor.

    hifacegan lmdb -i photographs -o datasets/photographs.lmdb --size 512
    hifacegan init photographs -i datasets/photographs.lmdb
    python -m basicsr.train -opt photographs.yml

Asks for what you do not give; if the input is not a terminal, uses the defaults.

Without --val, one image in twenty, at most 100, is held out for validation; NAME_split/train.txt and val.txt list the
split. The same folder always gives the same split.

Network and crops are the largest that fit the memory: the paper's from 16 GiB, smaller ones from 12, 8 and 4 GiB. Below
that, and on a CPU (0), a small network without perceptual loss.

Exit status: 0 the training can start, 1 the file is written, but there are problems, 2 nothing was written.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hifacegan_plugin.commands.arguments import from_zero, output_file
from hifacegan_plugin.commands.failing import fails_on
from hifacegan_plugin.data.degradations.recipes import RECIPES
from hifacegan_plugin.options_files.own_training import OwnImages, own_training_text
from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.prepare.image_sizes import Size, read_sizes
from hifacegan_plugin.prepare.split import hold_out, write_lists
from hifacegan_plugin.system.files import whole_file
from hifacegan_plugin.system.memory import gpu_memory

DEGRADATION = 'full'
ONE_IN, AT_MOST = 20, 100  # of the images are held out for validation

Answer = TypeVar('Answer')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan init``."""
    parser.add_argument(
        'name', type=_name, metavar='NAME', help='name of the experiment; results go to experiments/NAME'
    )
    parser.add_argument('-i', '--input', type=_images, metavar='IMAGES', help='clean images: a folder or an LMDB')
    parser.add_argument(
        '--val', type=_images, metavar='IMAGES', help='validate on these images, and train on all of --input'
    )
    parser.add_argument(
        '--degradation',
        choices=RECIPES,
        metavar='RECIPE',
        help=f'what the network learns to undo (default: {DEGRADATION}): {", ".join(RECIPES)}',
    )
    parser.add_argument(
        '--memory', type=from_zero, metavar='GIB',
        help='memory of the GPU; 0: train on the CPU (default: this machine)',
    )  # fmt: skip
    parser.add_argument('-o', '--output', type=output_file, metavar='FILE', help='default: NAME.yml in this folder')
    parser.add_argument('--overwrite', action='store_true', help='replace existing files')


@fails_on(BuildError, ValueError, OSError)  # UnicodeEncodeError is a ValueError
def run(arguments: argparse.Namespace) -> int:
    """Write the file and check it; 0 the training can start, 1 there are problems, 2 nothing was written."""
    file = arguments.output or Path(f'{arguments.name}.yml')
    if file.is_dir():
        raise BuildError(f'{file} is a folder: name another file with -o')
    if file.exists() and not arguments.overwrite:
        raise BuildError(f'{file} exists already; --overwrite replaces it')
    _ask_for_what_is_missing(arguments)
    lists = file.with_name(f'{arguments.name}_split')
    images, parts = _choose_images(arguments, lists)
    command = shlex.join(['python', '-m', 'basicsr.train', '-opt', str(file)])
    text = own_training_text(arguments.name, images, arguments.degradation, arguments.memory, command)
    with whole_file(file) as draft:
        draft.write_text(text, encoding='utf-8')
        if parts:
            write_lists(lists, parts, arguments.overwrite)
    print(f'{file}: trains on {images.count} images', flush=True)
    from hifacegan_plugin.commands import doctor  # imports the host, which takes seconds

    if doctor.run(argparse.Namespace(opt=file, iterate=False)):
        print(f'{file} is written; correct what is WRONG, then run hifacegan doctor -opt {file} again')
        return 1
    print(f'{file} is ready. To train:\n  {command}')
    return 0


def _ask_for_what_is_missing(arguments: argparse.Namespace) -> None:
    """Complete the arguments: ask the user, or use the defaults if there is no terminal.

    Raises:
        BuildError: no images are given, and the input is not a terminal.
    """
    asks = sys.stdin.isatty()
    if arguments.input is None:
        if not asks:
            raise BuildError('-i IMAGES: say which images to train on')
        arguments.input = _ask('Clean images, a folder or an LMDB', None, _images)
    if arguments.degradation is None:
        question = f'Degradation to undo ({", ".join(RECIPES)})'
        arguments.degradation = _ask(question, DEGRADATION, _recipe) if asks else DEGRADATION
    if arguments.memory is None:
        here = round(gpu_memory() / 2**30)
        arguments.memory = _ask('Memory of the GPU in GiB, 0 for the CPU', f'{here}', from_zero) if asks else here


def _ask(question: str, default: str | None, read: Callable[[str], Answer]) -> Answer:
    """Ask until the answer is valid."""
    while True:
        try:
            answer = input(f'{question}{f" [{default}]" if default else ""}: ').strip()
        except EOFError:
            raise BuildError('the input ended before all questions were answered') from None
        try:
            return read(answer or default or '')
        except argparse.ArgumentTypeError as error:
            print(f'  {error}')


def _choose_images(arguments: argparse.Namespace, lists: Path) -> tuple[OwnImages, dict[str, list[str]]]:
    """Examine the images; return them, and the names of each part of a split, unless --val gives other images."""
    sizes = read_sizes(arguments.input)
    if arguments.val is not None:
        return _own_images(arguments, list(sizes.values()), list(read_sizes(arguments.val).values())), {}
    if len(sizes) < 2:
        raise BuildError(f'{arguments.input} has only one image: give images for validation with --val')
    training, held_out = hold_out(list(sizes), min(AT_MOST, -(-len(sizes) // ONE_IN)))
    images = _own_images(arguments, [sizes[name] for name in training], [sizes[name] for name in held_out], lists)
    return images, {'train': training, 'val': held_out}


def _own_images(
    arguments: argparse.Namespace, trained: list[Size], validated: list[Size], lists: Path | None = None
) -> OwnImages:
    return OwnImages(
        root=arguments.input,
        count=len(trained),
        shorter_side=min(min(size) for size in trained),
        training_list=lists and lists / 'train.txt',
        validation_root=arguments.val or arguments.input,
        validation_list=lists and lists / 'val.txt',
        largest_validated=max(height * width for height, width in validated),
    )


def _name(text: str) -> str:
    if Path(text).name != text or text == '..':
        raise argparse.ArgumentTypeError(f'{text!r}: expected a name without "/"; -o says where the file goes')
    return text


def _images(text: str) -> Path:
    path = Path(text).expanduser()
    if not text or not path.is_dir():
        raise argparse.ArgumentTypeError(f'{text!r}: no such folder or LMDB')
    return path


def _recipe(text: str) -> str:
    if text not in RECIPES:
        raise argparse.ArgumentTypeError(f'{text!r}: expected one of {", ".join(RECIPES)}')
    return text
