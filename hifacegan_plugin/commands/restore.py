"""Restore images, folders or videos with a packaged network or your own weights.

    hifacegan restore -i photographs -o restored
    hifacegan restore -i photographs -o restored --faces              one network for faces, one for the rest
    hifacegan restore -i photographs -o restored -w net_g_latest.pth
    torchrun --nproc_per_node=4 -m hifacegan_plugin restore ...       shares the files among the processes

Exit status: 0 all files succeeded (always 0 under torchrun), 1 a file failed, 2 nothing could start.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist

from hifacegan_plugin.commands.arguments import share, whole
from hifacegan_plugin.commands.face_options import (
    add_face_arguments,
    check_face_arguments,
    face_file_restorer,
    refuse_video,
    start_report,
)
from hifacegan_plugin.commands.failing import fails_on
from hifacegan_plugin.commands.network_options import add_network_options
from hifacegan_plugin.commands.restorer_options import add_restorer_options, announce_scale, max_pixels, open_restorer
from hifacegan_plugin.faces.dlib_models import FaceModelsMissingError
from hifacegan_plugin.images.decoding import silence_codecs
from hifacegan_plugin.images.encoding import WRITABLE
from hifacegan_plugin.restore.blending import at_strength
from hifacegan_plugin.restore.engines.devices import EngineError
from hifacegan_plugin.restore.files import RestoreFile, Tally, restore_files, restore_image_file, without_faces
from hifacegan_plugin.restore.planning import InputError, Plan, output_folder, plan
from hifacegan_plugin.restore.videos.options import CODECS, VIDEO_FORMATS, VideoError, VideoOptions
from hifacegan_plugin.weights import PACKAGED, WeightsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan restore``."""
    parser.add_argument('-i', '--input', required=True, help='image, video, folder (searched recursively) or glob')
    parser.add_argument(
        '-o', '--output', required=True, type=Path, help='folder for the results, or a file name for a single result'
    )
    parser.add_argument(
        '--format', metavar='SUFFIX', choices=[suffix[1:] for suffix in (*WRITABLE, *VIDEO_FORMATS)],
        help=f'format of the results: {", ".join(suffix[1:] for suffix in WRITABLE)} for images; '
        f'{", ".join(suffix[1:] for suffix in VIDEO_FORMATS)} for videos (default: as the input)',
    )  # fmt: skip
    parser.add_argument(
        '--strength', type=share, default=1.0, metavar='0..1',
        help='blend with the input: 0 is the input, 1 the restored image (default: %(default)g)',
    )  # fmt: skip
    parser.add_argument('--resume', action='store_true', help='skip files whose results exist')
    parser.add_argument('--sheet', action='store_true', help='also write sheets of each image beside its result')
    network = parser.add_argument_group('network')
    weights = network.add_mutually_exclusive_group()
    weights.add_argument(
        '--model', choices=PACKAGED,
        help='a packaged network; hifacegan models describes them (default: general; with --faces, '
        'faces)',
    )  # fmt: skip
    weights.add_argument(
        '-w', '--weights', type=Path, metavar='FILE',
        help='weights file, .pth or .safetensors: your own, or of a network that spandrel supports (GFPGANv1.4.pth)',
    )  # fmt: skip
    add_network_options(network)
    add_restorer_options(parser)
    add_face_arguments(parser)
    videos = parser.add_argument_group('videos')
    videos.add_argument('--codec', default='h264', choices=CODECS, help='codec of the results (default: h264)')
    videos.add_argument(
        '--crf', type=whole, metavar='N',
        help='constant rate factor, from 0; lower values give better quality and larger files (default: '
        + ', '.join(f'{codec.crf} for {name}' for name, codec in CODECS.items()) + ')',
    )  # fmt: skip
    videos.add_argument('--temporal', action='store_true', help='reduce flicker: smooth along the motion of the input')


@fails_on(WeightsError, EngineError, VideoError, InputError, FaceModelsMissingError, OSError)
def run(arguments: argparse.Namespace) -> int:
    """Restore all files; 0 if all succeeded, 1 if one failed (0 under torchrun), 2 if nothing could start."""
    silence_codecs()
    arguments.weights = arguments.weights or PACKAGED[arguments.model or ('faces' if arguments.faces else 'general')]
    video_options = VideoOptions(arguments.codec, arguments.crf, arguments.temporal)
    check_face_arguments(arguments)
    planned = plan(arguments.input, arguments.output, arguments.format, arguments.sheet)
    to_image, to_video = _file_restorers(arguments, planned.folder, video_options)
    with output_folder(planned.folder):
        if arguments.report:  # it may be inside that folder
            start_report(arguments.report)
        tally = restore_files(planned.tasks, to_image, to_video, arguments.resume)
    failed = _report(planned, tally, arguments.output)
    # torchrun would report status 1 as a crash, and print a traceback below the list of failures.
    return 1 if failed and not dist.is_torchelastic_launched() else 0


def _file_restorers(
    arguments: argparse.Namespace, results: Path, video_options: VideoOptions
) -> tuple[RestoreFile, RestoreFile]:
    """Return the functions that restore an image file and a video file."""
    restorer = open_restorer(arguments, arguments.weights)
    image_options = {'max_pixels': max_pixels(arguments), 'sheet': arguments.sheet}
    if arguments.faces:
        return partial(face_file_restorer(arguments, restorer, results), **image_options), refuse_video
    restore = at_strength(restorer, arguments.strength)
    to_image = partial(restore_image_file, without_faces(restore), **image_options)
    if restorer.scale > 1:
        announce_scale(restorer, arguments.weights)
        return to_image, _refuse_to_enlarge
    network = _identify_network(arguments)
    return to_image, partial(_restore_video, restore, options=video_options, resume=arguments.resume, network=network)


def _restore_video(restore: Callable[[np.ndarray], np.ndarray], source: Path, target: Path, **options: Any) -> None:
    """Restore a video; import PyAV, an optional dependency, only now.

    Raises:
        VideoError: if PyAV is not installed, or as :func:`~hifacegan_plugin.restore.videos.restoring.restore_video`.
    """
    if find_spec('av') is None:
        raise VideoError('is a video, which needs PyAV. Run: pip install "hifacegan-plugin[video]"')
    from hifacegan_plugin.restore.videos.restoring import restore_video

    restore_video(restore, source, target, **options)


def _refuse_to_enlarge(source: Path, target: Path) -> None:
    raise VideoError('is a video, which cannot be upscaled: use a network that keeps the size')


def _identify_network(arguments: argparse.Namespace) -> str:
    """Return text that identifies all settings that affect restored video frames."""
    others = ('input', 'output', 'format', 'resume', 'sheet', 'threads', 'max_megapixels')
    options = {name: str(value) for name, value in vars(arguments).items() if name not in others}
    return f'{sorted(options.items())} {arguments.weights.stat().st_mtime_ns}'


def _report(planned: Plan, tally: Tally, output: Path) -> bool:
    """Print, from one process, the results for the files; return whether any failed."""
    failures = planned.failures + tally.failures
    if int(os.environ.get('RANK', 0)) == 0:
        if planned.others:
            kinds = ', '.join(sorted({other.suffix.lower() or 'no suffix' for other in planned.others}))
            print(f'left out, neither images nor videos by their names: {len(planned.others)} ({kinds})')
        print(f'{tally.restored} restored, {tally.done_before} already done, {len(failures)} failed; results: {output}')
        for failure in failures:
            source = str(failure.source)
            print(f'failed: {source if source.isprintable() else ascii(source)} {failure.reason}', file=sys.stderr)
    return bool(failures)
