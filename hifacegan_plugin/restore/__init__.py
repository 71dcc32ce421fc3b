"""Restore images: ``Restorer(weights)(image)`` in Python, ``hifacegan restore`` in a shell."""

from hifacegan_plugin.restore.restorer import Restorer

__all__ = ['Restorer']
