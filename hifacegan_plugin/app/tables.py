"""The tables of the page: the outcome for each file, and the faces of one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hifacegan_plugin.app.jobs import Outcome
from hifacegan_plugin.restore.faces import IDENTITY_LIMIT

FILE_TABLE = 'Files'
FILE_HEADERS = ['File', 'Result']
FACE_TABLE = f'Faces. Above an identity distance of {IDENTITY_LIMIT}, a face may look like another person.'
FACE_HEADERS = ['Face', 'Left', 'Top', 'Size in pixels', 'Identity distance']


def file_rows(outcomes: Sequence[Outcome]) -> list[list[Any]]:
    """Return a row for each file: its name and its outcome."""
    return [[outcome.source.name, outcome.problem or _summarise(outcome)] for outcome in outcomes]


def face_rows(outcome: Outcome) -> list[list[Any]]:
    """Return a row for each separately restored face of an image, largest first."""
    return [
        [
            face['face'],
            round(face['box'][0]),
            round(face['box'][1]),
            round(face['size']),
            f'{face["identity_distance"]:.2f}',
        ]
        for face in outcome.faces
    ]


def _summarise(outcome: Outcome) -> str:
    if not outcome.faces:
        return 'restored'
    largest = max(face['identity_distance'] for face in outcome.faces)
    number = 'one face' if len(outcome.faces) == 1 else f'{len(outcome.faces)} faces'
    return f'restored, with {number} (identity distance up to {largest:.2f})'
