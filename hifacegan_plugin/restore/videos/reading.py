"""Read videos with PyAV: every frame upright, with its exact time, in RGB as its colour tags define."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from hifacegan_plugin.restore.videos.options import VideoError

logger = logging.getLogger('basicsr.hifacegan_plugin')

FORMATS = 'mov,matroska,avi'  # FFmpeg's names; other formats are refused, such as playlists, which refer to other files
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP

# ITU-T H.273, table 4: values of MatrixCoefficients that FFmpeg converts.
RGB, BT709, UNSPECIFIED, BT470BG, SMPTE170M = 0, 1, 2, 5, 6
MATRICES = (BT709, 4, BT470BG, SMPTE170M, 7, 9)
LIMITED_RANGE = 1  # FFmpeg's AVCOL_RANGE_MPEG


class Decoded(NamedTuple):
    """A decoded frame, or a placeholder for one that cannot be decoded.

    Attributes:
        frame: None if it cannot be decoded.
        time: presentation time in units of the stream's time base; it increases from frame to frame.
        problem: what is wrong with the frame; None if nothing is.
    """

    frame: av.VideoFrame | None
    time: int
    problem: str | None = None


@dataclass(frozen=True)
class Look:
    """The properties that all frames of a video share.

    Attributes:
        width: in pixels, upright.
        height: in pixels, upright.
        deep: more than 8 bits a channel.
        time_base: unit of times, in seconds.
        rate: frames a second, on average.
        aspect: width of an upright pixel divided by its height; None if unknown.
        matrix: from RGB to YCbCr, as in ITU-T H.273; guessed from the size if the video has no tag.
        primaries: as in ITU-T H.273; 2 if the video has no tag.
        transfer: as in ITU-T H.273; 2 if the video has no tag.
        colour_range: 1 limited, 2 full.
    """

    width: int
    height: int
    deep: bool
    time_base: Fraction
    rate: Fraction
    aspect: Fraction | None
    matrix: int
    primaries: int
    transfer: int
    colour_range: int


@contextmanager
def open_video(path: Path) -> Iterator[InputContainer]:
    """Open a video for reading.

    Raises:
        VideoError: if the file is not a readable video.
    """
    try:
        file = path.open('rb')  # given a path, FFmpeg would read text before a colon as a protocol
    except OSError as error:
        raise VideoError(f'cannot be read ({error.strerror})') from error
    with file:
        try:
            # Tags that are not UTF-8 pass through unchanged.
            container = av.open(file, options={'format_whitelist': FORMATS}, metadata_errors='surrogateescape')
        except (av.FFmpegError, OSError) as error:  # an OSError where the file is empty
            raise VideoError(f'is not a video that can be read ({error.strerror})') from error
        with container:
            yield container


def main_stream(container: InputContainer) -> VideoStream:
    """Return the video stream to restore: the first that is not a cover image.

    Raises:
        VideoError: if there is none.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise VideoError('is not a video that can be read (no video stream)')
    if streams[0].codec_context is None:
        raise VideoError('is a video in a codec that PyAV does not decode')
    return streams[0]


class FrameReader:
    """Iterates over the frames of a video in the order in which they are shown.

    Attributes:
        stream: the stream of the frames, see :func:`main_stream`.
        frames_missing: after the last frame, how the video ends too early; otherwise None.

    Raises:
        VideoError: as :func:`main_stream`.
    """

    def __init__(self, container: InputContainer) -> None:
        self.container, self.stream = container, main_stream(container)
        self.frames_missing: str | None = None
        self._last = None  # time of the previous frame
        self._packets, self._end = 0, Fraction(0)  # of the stream; of all that was read, in seconds

    def __iter__(self) -> Iterator[Decoded]:
        """Yield every frame, with a placeholder for each frame that cannot be decoded."""
        for packet in self._packets_of_all_streams():
            if packet.stream is not self.stream:
                continue
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                yield Decoded(None, packet.pts or 0, f'cannot be decoded ({error.strerror})')
                continue
            for frame in frames:
                yield Decoded(frame, self._time(frame), 'is damaged in the file' if frame.is_corrupt else None)
        self.frames_missing = self._what_is_missing()

    def _packets_of_all_streams(self) -> Iterator[av.Packet]:
        """Read to the end, or as far as a damaged file goes."""
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:  # the file ends early; _what_is_missing reports it
                packet = None
            if packet is None:
                yield from self._flush()
                return
            self._packets += packet.stream is self.stream
            if packet.pts is not None:
                self._end = max(self._end, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.size:  # an empty packet holds nothing, or flushes the decoder, which is done at the end
                yield packet

    def _flush(self) -> Iterator[av.Packet]:
        packet = av.Packet()
        packet.stream = self.stream
        packet.time_base = self.stream.time_base
        yield packet

    def _time(self, frame: av.VideoFrame) -> int:
        time = frame.pts
        if time is None:
            time = 0 if self._last is None else self._last + max(frame.duration, 1)
        elif self._last is not None and time <= self._last:  # it would be shown for no time
            time = self._last + 1
        self._last = time
        return time

    def _what_is_missing(self) -> str | None:
        """Compare what was read with what the file header announces."""
        stream = self.stream
        if self.container.format.name.startswith('mov'):
            frames = len(stream.index_entries)  # without frames that an edit list removes
            return f'{self._packets} of {frames} frames could be read' if self._packets < frames else None
        if self.container.format.name == 'avi':  # FFmpeg estimates the duration of a truncated AVI
            announced = stream.frames * stream.time_base
        else:
            announced = Fraction(self.container.duration or 0, av.time_base)
        frame = 1 / (stream.average_rate or 25)
        if self._end < announced - max(2 * frame, announced / 100):  # it may be an estimate
            return f'{float(self._end):.2f} of {float(announced):.2f} seconds could be read'
        return None


def read_look(path: Path) -> Look:
    """Read the properties of all frames from the first frame of a video.

    Raises:
        VideoError: if there is no frame, or one that cannot be converted to upright RGB.
    """
    with open_video(path) as container:
        reader = FrameReader(container)
        frames = (decoded.frame for decoded in reader if decoded.frame)
        first = next(frames, None)
        if first is None:
            raise VideoError('is damaged: no frame could be read')
        if any(component.is_alpha for component in first.format.components):
            logger.warning(f'{path}: the alpha channel is dropped')
        return _look_of(first, reader.stream)


def _look_of(frame: av.VideoFrame, stream: VideoStream) -> Look:
    height, width = upright(np.empty((frame.height, frame.width)), frame).shape
    aspect = stream.sample_aspect_ratio
    matrix = frame.colorspace
    if frame.format.is_rgb or matrix in (RGB, UNSPECIFIED):  # the same guess as players make
        hd = width >= 1280 or height > 576
        matrix = BT709 if hd else BT470BG if height == 576 else SMPTE170M
    elif matrix not in MATRICES:
        raise VideoError(f'has colours that cannot be converted (matrix {matrix} of ITU-T H.273)')
    return Look(
        width, height,
        deep=any(component.bits > 8 for component in frame.format.components),
        time_base=stream.time_base,
        rate=stream.average_rate or stream.guessed_rate or Fraction(25),
        aspect=1 / aspect if aspect and width != frame.width else aspect or None,
        matrix=matrix, primaries=frame.color_primaries, transfer=frame.color_trc,
        colour_range=LIMITED_RANGE if frame.format.is_rgb else frame.color_range or LIMITED_RANGE,
    )  # fmt: skip


def to_rgb(frame: av.VideoFrame, look: Look) -> np.ndarray:
    """Convert a frame to upright RGB ``(H, W, 3)``: uint8, or uint16 for more than 8 bits a channel."""
    if not frame.format.is_rgb:
        frame.colorspace, frame.color_range = look.matrix, look.colour_range
    rgb = frame.to_ndarray(format='rgb48le' if look.deep else 'rgb24', interpolation=EXACT)
    return np.ascontiguousarray(upright(rgb, frame))


def upright(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Rotate and mirror ``pixels (H, W, ...)`` of a frame as its display matrix says.

    Raises:
        VideoError: if the angle is not a multiple of 90 degrees.
    """
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return pixels
    # x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 8.3.2); the other entries translate.
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if a == d == 0 and b and c:
        pixels, right, down = pixels.swapaxes(0, 1), c, b
    elif b == c == 0 and a and d:
        right, down = a, d
    else:
        raise VideoError('is rotated by an angle that is not a multiple of 90 degrees: rotate it first')
    return pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
