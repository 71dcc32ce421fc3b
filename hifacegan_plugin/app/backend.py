"""The backend of the web page: the networks, the size limit and the folder for files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from hifacegan_plugin.restore.blending import at_strength
from hifacegan_plugin.restore.faces import FaceOptions, RestoredFace, load_models, restore_faces
from hifacegan_plugin.restore.files import RestorePixels, restore_image_file, without_faces
from hifacegan_plugin.restore.restorer import Restorer

WHOLE, FACES, BOTH = 'whole image', 'faces', 'both'


class Settings(NamedTuple):
    """How images are restored.

    Attributes:
        what: :data:`WHOLE` restores the whole image with one network; :data:`FACES` restores only the aligned faces;
            :data:`BOTH` restores faces with one network and the background with another.
        network: name of the network for whole images and backgrounds.
        face_network: name of the network for faces.
        strength: from 0 (input) to 1 (restored image).
        keep_identity: lower the strength for faces that may look like another person, see
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
        networks: functions that open a restorer, by the name of the network; the first is the default.
        max_pixels: larger images are rejected.
        folder: folder for files; it is deleted when the server stops.
    """

    networks: Mapping[str, Callable[[], Restorer]]
    max_pixels: int
    folder: Path

    def session_folder(self, session: str | None) -> Path:
        """Return the folder of a session. The browser chooses the session's name, so it is hashed."""
        return self.folder / 'sessions' / sha256(str(session).encode()).hexdigest()

    def file_restorer(self, settings: Settings) -> Callable[[Path, Path], list[RestoredFace]]:
        """Return a function that restores one file into another and returns the separately restored faces.

        Raises:
            FaceModelsMissingError: the settings include faces, but dlib or a model file is missing.
        """
        return partial(restore_image_file, self._pixel_restorer(settings), max_pixels=self.max_pixels)

    def _pixel_restorer(self, settings: Settings) -> RestorePixels:
        if settings.what == WHOLE:
            return without_faces(at_strength(self.networks[settings.network](), settings.strength))
        load_models()
        return partial(
            restore_faces,
            restore=self.networks[settings.face_network](),
            background=self.networks[settings.network]() if settings.what == BOTH else None,
            options=FaceOptions(strength=settings.strength, keep_identity=settings.keep_identity),
        )
