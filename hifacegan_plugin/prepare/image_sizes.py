"""The sizes of the images in a folder or an LMDB, which determine the options of a training."""

from __future__ import annotations

from pathlib import Path

from hifacegan_plugin.images.files import read_file
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.opening import TRANSPOSED, open_image
from hifacegan_plugin.images.sources import find_images
from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.prepare.names import read_shapes

Size = tuple[int, int]  # height and width in pixels


def read_sizes(root: Path) -> dict[str, Size]:
    """Return the size of every image in a folder (including subfolders) or in an LMDB, by path or key.

    Raises:
        BuildError: there are no images, an image cannot be read, or the database is damaged.
    """
    if root.suffix == '.lmdb':
        return {key: (height, width) for key, (height, width, _) in read_shapes(root).items()}
    try:
        return {image.name: _size_of(root / image.name) for image in find_images(str(root), 'disk', option='-i')}
    except (ValueError, OSError) as error:
        raise BuildError(f'{error}') from error


def _size_of(file: Path) -> Size:
    """Read the height and width of an image in upright orientation."""
    try:
        image = open_image(read_file(file))
    except ImageError as error:
        raise BuildError(f'{file} {error}: remove it, or make a database, because hifacegan lmdb rejects it') from error
    height, width, _ = image.shape
    return (width, height) if image.orientation in TRANSPOSED else (height, width)
