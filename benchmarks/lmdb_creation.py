"""Time create_lmdb.py against BasicSR's make_lmdb_from_imgs, on 512x512 PNG files made from scikit-image's photographs.

    python benchmarks/lmdb_creation.py --images 300 --rounds 5

Each round runs, in turn: BasicSR with its defaults, BasicSR with two reading processes, create_lmdb.py copying the
files' bytes, and create_lmdb.py --reencode with two threads. Imports and the deletion of the databases are not timed;
each leaves its data on disk (fsync). The medians over the rounds are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

sys.path.insert(0, str(Path(__file__).parents[1]))

from basicsr.utils.lmdb_util import make_lmdb_from_imgs

from hifacegan_plugin.prepare.create_lmdb import Options, create_lmdb
from hifacegan_plugin.prepare.resumable_build import Run

JOBS = 2


def make_images(folder: Path, count: int) -> list[str]:
    """Write random square crops of photographs, resized to 512x512, as PNG."""
    rng = np.random.default_rng(0)
    photographs = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    names = [f'{i:05d}.png' for i in range(count)]
    for i, name in enumerate(names):
        photograph = photographs[i % len(photographs)]
        side = int(min(photograph.shape[:2]) * rng.uniform(0.6, 1))
        top, left = (rng.integers(length - side, endpoint=True) for length in photograph.shape[:2])
        crop = photograph[top : top + side, left : left + side]
        Image.fromarray(cv2.resize(crop, (512, 512), interpolation=cv2.INTER_CUBIC)).save(folder / name)
    return names


def contestants(folder: Path, names: list[str], target: Path) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name; each builds `target`."""
    keys = [Path(name).stem for name in names]

    def host(**options: object) -> None:
        make_lmdb_from_imgs(str(folder), str(target), names, keys, **options)

    def ours(**options: object) -> None:
        create_lmdb(folder, names, target, Options(**options), Run(JOBS))

    return {
        'BasicSR': host,
        f'BasicSR, {JOBS} processes': lambda: host(multiprocessing_read=True, n_thread=JOBS),
        'create_lmdb.py (copies)': ours,
        f'create_lmdb.py --reencode --jobs {JOBS}': lambda: ours(reencode=True),
    }


def main() -> None:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=300, help='number of images (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--folder', type=Path, help='working folder, on the disk to measure (default: a temporary one)')
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        folder, target = Path(place, 'images'), Path(place, 'x.lmdb')
        folder.mkdir()
        names = make_images(folder, arguments.images)
        timed = contestants(folder, names, target)
        rates: dict[str, list[float]] = {name: [] for name in timed}
        sizes = {}
        for _ in range(arguments.rounds):
            for name, run in timed.items():
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    start = time.perf_counter()
                    run()
                    rates[name].append(len(names) / (time.perf_counter() - start))
                sizes[name] = (target / 'data.mdb').stat().st_size / len(names)
                shutil.rmtree(target)

    alone, parallel, *_ = (statistics.median(times) for times in rates.values())
    print(f'{len(names)} PNG files of 512x512, {arguments.rounds} rounds, medians\n')
    print(f'{"":38}   images/s    kB/image  BasicSR x  BasicSR, {JOBS} processes x')
    for name, times in rates.items():
        rate = statistics.median(times)
        print(f'{name:38} {rate:10.1f}  {sizes[name] / 1e3:10.1f}  {rate / alone:9.2f}  {rate / parallel:9.2f}')


if __name__ == '__main__':
    main()
