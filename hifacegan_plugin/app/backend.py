"""The backend of the page: networks, size limit and folder for files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hifacegan_plugin.images.photograph_files import read_photograph
from hifacegan_plugin.restore.faces import FaceOptions, RestoredFace, load_models, restore_faces
from hifacegan_plugin.restore.files import write_result
from hifacegan_plugin.restore.restorer import Restorer
from hifacegan_plugin.restore.strength import at_strength

WHOLE, FACES, BOTH = 'whole image', 'faces', 'both'


class Settings(NamedTuple):
    """How images are restored.

    Attributes:
        what: :data:`WHOLE`, the whole image by one network; :data:`FACES`, its faces alone, each aligned; or
            :data:`BOTH`, the faces by one network and the rest by another.
        network: name of the network for whole images, or for the rest besides faces.
        face_network: name of the network for faces.
        strength: from 0, the input, to 1, the restored image.
        keep_identity: lower the strength of a face that may look like another person, see
            :class:`~hifacegan_plugin.restore.faces.FaceOptions`.
    """

    what: str
    network: str
    face_network: str
    strength: float
    keep_identity: bool


@dataclass(frozen=True)
class Backend:
    """The backend of the page.

    Attributes:
        networks: for each name to choose from, a function that opens the restorer; the first is the default.
        max_pixels: larger images are refused.
        folder: for files; it is removed when the server ends.
    """

    networks: Mapping[str, Callable[[], Restorer]]
    max_pixels: int
    folder: Path

    def session_folder(self, session: str | None) -> Path:
        """Return the folder of a session. Its name comes from the browser and may be anything, so it is hashed."""
        return self.folder / 'sessions' / sha256(str(session).encode()).hexdigest()

    def file_restorer(self, settings: Settings) -> Callable[[Path, Path], list[RestoredFace]]:
        """Return a function that restores one file into another and returns the faces that it restored apart.

        Raises:
            FaceModelsMissingError: faces are to be restored, and dlib or a model file is missing.
        """
        restore = self._pixel_restorer(settings)

        def restore_file(source: Path, target: Path) -> list[RestoredFace]:
            photograph = read_photograph(source, self.max_pixels)
            restored, faces = restore(photograph.pixels)
            write_result(target, photograph, restored, sheet=False)
            return faces

        return restore_file

    def _pixel_restorer(self, settings: Settings) -> Callable[[np.ndarray], tuple[np.ndarray, list[RestoredFace]]]:
        if settings.what == WHOLE:
            restore = at_strength(self.networks[settings.network](), settings.strength)
            return lambda pixels: (restore(pixels), [])
        load_models()
        return partial(
            restore_faces,
            restore=self.networks[settings.face_network](),
            background=self.networks[settings.network]() if settings.what == BOTH else None,
            options=FaceOptions(strength=settings.strength, keep_identity=settings.keep_identity),
        )
