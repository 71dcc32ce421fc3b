"""Restore images: ``Restorer(weights)(image)`` in Python, ``hifacegan restore`` in a shell; photographs with faces by
``restore_faces(image, Restorer('faces'), Restorer('general'))``.
"""

from hifacegan_plugin.restore.faces import FaceOptions, RestoredFace, restore_faces
from hifacegan_plugin.restore.restorer import Restorer

__all__ = ['FaceOptions', 'RestoredFace', 'Restorer', 'restore_faces']
