"""What the page works with: its networks, its limits, its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hifacegan_plugin.images.photographs import read_photograph
from hifacegan_plugin.restore.faces import FaceOptions, RestoredFace, load_models, restore_faces
from hifacegan_plugin.restore.files import write_result
from hifacegan_plugin.restore.restorer import Restorer
from hifacegan_plugin.restore.strength import at_strength

WHOLE, FACES, BOTH = 'whole image', 'faces', 'both'


class Settings(NamedTuple):
    """How images are restored.

    Attributes:
        what: the whole image as one, its faces alone, each aligned, or the faces and the rest apart.
        network: name of the one for whole images, and for the rest besides faces.
        face_network: name of the one for faces.
        strength: from 0, the input, to 1, what is restored.
    """

    what: str
    network: str
    face_network: str
    strength: float


@dataclass(frozen=True)
class Workshop:
    """What the page works with.

    Attributes:
        networks: what opens the restorer of each network to choose from, by its name; the first is chosen at first.
        max_pixels: larger images are refused.
        folder: for files, which is removed when the server ends.
    """

    networks: Mapping[str, Callable[[], Restorer]]
    max_pixels: int
    folder: Path

    def folder_of(self, session: str | None) -> Path:
        """Return the folder of a session, whose name the browser chooses, so that it may be anything."""
        return self.folder / 'sessions' / sha256(str(session).encode()).hexdigest()

    def way(self, settings: Settings) -> Callable[[Path, Path], list[RestoredFace]]:
        """Return what restores the image of one path into another, and returns the faces that it restored apart.

        Raises:
            FaceModelsMissingError: faces are to be restored, and dlib or a model file is missing.
        """
        restore = self._restore_pixels(settings)

        def restore_file(source: Path, target: Path) -> list[RestoredFace]:
            photograph = read_photograph(source, self.max_pixels)
            restored, faces = restore(photograph.pixels)
            write_result(target, photograph, restored, sheet=False)
            return faces

        return restore_file

    def _restore_pixels(self, settings: Settings) -> Callable[[np.ndarray], tuple[np.ndarray, list[RestoredFace]]]:
        if settings.what == WHOLE:
            restore = at_strength(self.networks[settings.network](), settings.strength)
            return lambda pixels: (restore(pixels), [])
        load_models()
        return partial(
            restore_faces,
            restore=self.networks[settings.face_network](),
            background=self.networks[settings.network]() if settings.what == BOTH else None,
            options=FaceOptions(strength=settings.strength),
        )
