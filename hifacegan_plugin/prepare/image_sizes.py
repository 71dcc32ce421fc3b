"""The sizes of the images in a folder or an LMDB, which determine the options of a training."""

from __future__ import annotations

from pathlib import Path

from hifacegan_plugin.images.databases import DamagedDatabaseError, read_meta_info
from hifacegan_plugin.images.files import read_file
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.opening import TRANSPOSED, open_image
from hifacegan_plugin.images.sources import find_images
from hifacegan_plugin.prepare.build_error import BuildError

Size = tuple[int, int]  # height and width in pixels


def read_sizes(root: Path) -> dict[str, Size]:
    """Return the size of every image in a folder (including subfolders) or in an LMDB, by path or key.

    Raises:
        BuildError: there are no images, an image cannot be read, or the database is damaged.
    """
    is_database = root.suffix == '.lmdb'
    try:
        names = [image.name for image in find_images(str(root), 'lmdb' if is_database else 'disk', option='-i')]
        if is_database:
            return {key: (height, width) for key, (height, width, _) in read_meta_info(root).items()}
        return {name: _size_of(root / name) for name in names}
    except (ValueError, OSError, DamagedDatabaseError) as error:
        raise BuildError(f'{error}') from error


def _size_of(file: Path) -> Size:
    """Read the height and width of an image in upright orientation."""
    try:
        image = open_image(read_file(file))
    except ImageError as error:
        raise BuildError(f'{file} {error}: remove it, or make a database, because hifacegan lmdb rejects it') from error
    height, width, _ = image.shape
    return (width, height) if image.orientation in TRANSPOSED else (height, width)
