"""The video formats, the options for writing and the error class: everything that does not need PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# Suffixes that are read, and the suffix of the result: the same if the format holds H.264 with any frame times.
RESULT_SUFFIXES = {'.mp4': '.mp4', '.mov': '.mov', '.mkv': '.mkv', '.avi': '.mp4', '.webm': '.mkv'}
VIDEOS = tuple(RESULT_SUFFIXES)
VIDEO_FORMATS = ('.mp4', '.mov', '.mkv')  # formats that can be written


class VideoError(ValueError):
    """A video cannot be read, restored completely or written; the message says why, without the file name."""


class Codec(NamedTuple):
    """An FFmpeg encoder, its default constant rate factor, and the largest one (the lowest quality); 0 is the best."""

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
        crf: constant rate factor, 0 (best) to 51, or to 63 for ``av1``; None: the codec's default.
        temporal: smooth the results along the motion of the input.

    Raises:
        VideoError: if ``crf`` is out of the codec's range.
    """

    codec: str = 'h264'
    crf: int | None = None
    temporal: bool = False

    def __post_init__(self) -> None:
        largest = CODECS[self.codec].largest_crf
        if self.crf is not None and not 0 <= self.crf <= largest:
            raise VideoError(f'crf {self.crf}: of {self.codec} it is 0 to {largest}')


DEFAULTS = VideoOptions()
