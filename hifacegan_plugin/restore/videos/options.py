"""Which videos are read, how they are written, and their error: what can be imported without PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# What is read, and the form of the result: that of the input where it takes H.264 and any times.
RESULT_SUFFIXES = {'.mp4': '.mp4', '.mov': '.mov', '.mkv': '.mkv', '.avi': '.mp4', '.webm': '.mkv'}
VIDEOS = tuple(RESULT_SUFFIXES)
VIDEO_FORMATS = ('.mp4', '.mov', '.mkv')  # that are written


class VideoError(ValueError):
    """A video that cannot be read, restored in all frames, or written; the message says why, and names no file."""


class Codec(NamedTuple):
    """An encoder of FFmpeg, and its constant rate factor: the default, from 0 to the largest, which is the worst."""

    encoder: str
    crf: int
    largest_crf: int
    options: dict[str, str]


CODECS = {
    'h264': Codec('libx264', 18, 51, {}),
    'h265': Codec('libx265', 20, 51, {'x265-params': 'log-level=none'}),
    'av1': Codec('libsvtav1', 24, 63, {}),
}


@dataclass(frozen=True)
class VideoOptions:
    """How videos are written.

    Attributes:
        codec: one of :data:`CODECS`.
        crf: constant rate factor, 0 (best) to 51 or, of ``av1``, 63; None: the default of the codec.
        temporal: smooth the results along the motion of the input.

    Raises:
        VideoError: if ``crf`` is none of the codec.
    """

    codec: str = 'h264'
    crf: int | None = None
    temporal: bool = False

    def __post_init__(self) -> None:
        largest = CODECS[self.codec].largest_crf
        if self.crf is not None and not 0 <= self.crf <= largest:
            raise VideoError(f'crf {self.crf}: of {self.codec} it is 0 to {largest}')


DEFAULTS = VideoOptions()
