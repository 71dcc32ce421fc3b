"""Reading databases and images in the host's own datasets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from hifacegan_plugin.host.workaround import private_copy, workaround
from hifacegan_plugin.images.databases import open_database
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.metadata.png_chunks import SIGNATURE
from hifacegan_plugin.images.opening import open_image

if TYPE_CHECKING:
    from basicsr.utils.file_client import FileClient, LmdbBackend


@workaround(
    defect='two datasets in one process cannot read the same LMDB',
    fix='lets them share one handle',
)
def share_databases() -> None:
    """Let datasets share an LMDB, as two validation sets with the same images do.

    Each dataset of the host opens its LMDB, but a process can open an LMDB only once.
    """
    from basicsr.utils.file_client import LmdbBackend

    def wrapper(init: Callable[..., None]) -> Callable[..., Any]:
        def share_handles(
            self: LmdbBackend, db_paths: str | list[str], client_keys: str | list[str] = 'default', **options: Any
        ) -> None:
            paths, keys = ([value] if isinstance(value, str) else value for value in (db_paths, client_keys))
            self._client = {key: open_database(path, **options) for key, path in zip(keys, paths, strict=True)}

        return share_handles

    share_databases.wrap(LmdbBackend, '__init__', wrapper)


@workaround(
    defect='a crafted PNG crashes OpenCV 5.0 and so the process; errors do not name the image',
    fix='passes PNG files to OpenCV as still images; names animated and truncated ones',
)
def decode_only_still_images() -> None:
    """Check every PNG before the host decodes it; pixels and all other formats are decoded as before."""
    from basicsr.data import data_util
    from basicsr.utils import img_util, lmdb_util
    from basicsr.utils.file_client import FileClient

    def of_client(get: Callable[..., bytes | None]) -> Callable[..., Any]:
        def get_still_image(self: FileClient, filepath: str | Path, client_key: str = 'default') -> bytes | None:
            content = get(self, filepath, client_key)
            return content and _still_image(content, str(filepath))

        return get_still_image

    def of_bytes(imdecode: Callable[..., Any]) -> Callable[..., Any]:
        def decode_still_image(data: np.ndarray, flags: int) -> np.ndarray | None:
            return imdecode(np.frombuffer(_still_image(data.tobytes(), 'An image'), np.uint8), flags)

        return decode_still_image

    def of_file(imread: Callable[..., Any]) -> Callable[..., Any]:
        def read_still_image(path: str, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
            if not Path(path).is_file():
                return imread(path, flags)
            return cv2.imdecode(np.frombuffer(_still_image(Path(path).read_bytes(), path), np.uint8), flags)

        return read_still_image

    decode_only_still_images.wrap(FileClient, 'get', of_client)
    decode_only_still_images.wrap(private_copy(img_util, 'cv2'), 'imdecode', of_bytes)
    for module in (data_util, lmdb_util):
        decode_only_still_images.wrap(private_copy(module, 'cv2'), 'imread', of_file)


def _still_image(data: bytes, name: str) -> bytes:
    """Return a PNG without its animation chunks; return data in other formats unchanged.

    Raises:
        ImageError: the PNG is animated, truncated or damaged; the message begins with ``name``.
    """
    if not data.startswith(SIGNATURE):
        return data
    try:
        return open_image(data, max_pixels=sys.maxsize).data  # how many pixels it may have is left to OpenCV
    except ImageError as error:
        raise ImageError(f'{name} {error}') from error
