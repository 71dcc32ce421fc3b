"""The options of ``hifacegan restore --faces``, and the function that restores files as they say."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hifacegan_plugin.commands.arguments import output_file, positive_whole
from hifacegan_plugin.commands.restorer_options import announce_scale, open_restorer
from hifacegan_plugin.restore.face_files import restore_faces_file
from hifacegan_plugin.restore.faces import IDENTITY_LIMIT, FaceOptions, load_models, restore_faces
from hifacegan_plugin.restore.planning import InputError
from hifacegan_plugin.restore.restorer import Restorer
from hifacegan_plugin.restore.videos.options import VideoError
from hifacegan_plugin.weights import PACKAGED

_NEED_FACES = ('only', 'min_face', 'face_side', 'background', 'save_faces', 'report', 'keep_identity')


def add_face_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    default = FaceOptions()
    faces = parser.add_argument_group('faces')
    faces.add_argument(
        '--faces', action='store_true',
        help='restore each face as an aligned crop with --model or -w (default: --model faces), and the rest with '
        '--background; needs pip install "hifacegan-plugin[faces]"',
    )  # fmt: skip
    faces.add_argument(
        '--only', type=_number_of_faces, metavar='WHICH', help='largest, all, or the N largest (default: all)'
    )
    faces.add_argument(
        '--min-face', type=positive_whole, metavar='N',
        help='treat smaller faces as background: side in pixels of the square around a face, about four times the '
        f'distance between the eyes; smaller values take longer (default: {default.min_face})',
    )  # fmt: skip
    faces.add_argument(
        '--face-side', type=positive_whole, metavar='N',
        help=f'side in pixels of the aligned faces that the network was trained on (default: {default.side})',
    )  # fmt: skip
    faces.add_argument(
        '--background', metavar='WHAT',
        help='restore: use --model general; keep: do not change it; or a weights file (default: restore)',
    )  # fmt: skip
    faces.add_argument(
        '--keep-identity', action='store_true',
        help='lower the strength for a face that would look like another person (identity distance above '
        f'{IDENTITY_LIMIT})',
    )  # fmt: skip
    faces.add_argument(
        '--save-faces', type=Path, metavar='FOLDER', help='also write the aligned faces, before and after'
    )
    faces.add_argument(
        '--report', type=output_file, metavar='FILE',
        help='append a JSON line for each face: box, size, identity distance and more',
    )  # fmt: skip


def check_face_arguments(arguments: argparse.Namespace) -> None:
    """Check that ``--faces`` is given if an option needs it.

    Raises:
        InputError: it is not given.
    """
    given = [name for name in _NEED_FACES if getattr(arguments, name)]
    if given and not arguments.faces:
        raise InputError(f'--{given[0].replace("_", "-")} needs --faces: give it, too.')


def face_file_restorer(arguments: argparse.Namespace, restorer: Restorer, results: Path) -> Callable[..., None]:
    """Return a function like :func:`~hifacegan_plugin.restore.files.restore_image_file` that restores faces separately.

    Args:
        arguments: of the command.
        restorer: of faces.
        results: the folder for the results.

    Raises:
        FaceModelsMissingError: dlib or a model file is missing.
        WeightsError: the weights for the background cannot be used.
    """
    load_models()
    default = FaceOptions()
    options = FaceOptions(
        only=arguments.only,
        min_face=arguments.min_face or default.min_face,
        side=arguments.face_side or default.side,
        strength=arguments.strength,
        keep_identity=arguments.keep_identity,
    )
    background = None if arguments.background == 'keep' else _open_background(arguments)
    restore = partial(restore_faces, restore=restorer, background=background, options=options)
    return partial(restore_faces_file, restore, results, report=arguments.report, crops=arguments.save_faces)


def refuse_video(source: Path, target: Path) -> None:
    """Raise a VideoError: faces are restored in photographs only."""
    raise VideoError('is a video, and --faces is for photographs only: leave --faces out')


def start_report(report: Path) -> None:
    """Make the report file before anything is restored.

    Raises:
        InputError: it cannot be written.
    """
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.open('ab').close()
    except OSError as error:
        raise InputError(f'{report} cannot be written ({error.strerror})') from error


def _open_background(arguments: argparse.Namespace) -> Restorer:
    weights = PACKAGED['general'] if arguments.background in (None, 'restore') else Path(arguments.background)
    # --norm and --global-residual apply to the network for faces.
    options = argparse.Namespace(**{**vars(arguments), 'norm': None, 'global_residual': None})
    background = open_restorer(options, weights)
    if background.scale > 1:
        announce_scale(background, weights)
    return background


def _number_of_faces(text: str) -> int | None:
    """Read which faces to restore: ``all``, ``largest`` or a number."""
    if text in ('all', 'largest'):
        return 1 if text == 'largest' else None
    try:
        return positive_whole(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f'{text!r}: expected largest, all or a whole number of at least 1') from None
