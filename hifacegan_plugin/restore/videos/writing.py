"""Write videos with PyAV: encode segments of restored frames, and join them with the source's other streams."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from heapq import merge
from itertools import chain, pairwise, zip_longest
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from hifacegan_plugin.restore.videos.options import VideoError
from hifacegan_plugin.restore.videos.reading import EXACT, Look, main_stream, open_video
from hifacegan_plugin.system.files import whole_file

logger = logging.getLogger('basicsr.hifacegan_plugin')

os.environ.setdefault('SVT_LOG', '1')  # else the AV1 encoder prints its settings to stderr; errors are still raised

MAX_RATE = 240  # frames a second; upper limit of the rate given to encoders for bit-rate control; timestamps stay exact
FORMATS = {'.mp4': 'mp4', '.mov': 'mov', '.mkv': 'matroska'}  # FFmpeg's names
COVER_KINDS = {'mjpeg': 'jpeg'}  # image codecs whose name is not the file type
ABOUT_THE_FILE = ('major_brand', 'minor_version', 'compatible_brands', 'encoder')  # tags that FFmpeg writes anew
ABOUT_A_VIDEO = ('language', 'title', 'handler_name', 'creation_time')  # stream tags to copy; the rest is about coding


@dataclass(frozen=True)
class Segment:
    """The data of a segment besides its frames.

    Attributes:
        times: presentation times of its frames, in units of the video's time base.
        last_duration: how long the last frame is shown; every other frame is shown until the next one.
        depth: the largest number of positions between a frame's decoding order and its presentation order.
        problems: a description of each problem with a frame.
    """

    times: list[int]
    last_duration: int
    depth: int
    problems: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        with whole_file(path) as part:
            part.write_text(json.dumps(asdict(self)), encoding='utf-8')

    @classmethod
    def read(cls, path: Path) -> Segment:
        """Read what :meth:`write` wrote."""
        return cls(**json.loads(path.read_text(encoding='utf-8')))


def encode_segment(
    file: BinaryIO, look: Look, encoder: str, options: dict[str, str], frames: Iterable[tuple[np.ndarray, int, int]]
) -> Segment:
    """Encode frames as an MP4 that is decodable on its own and whose times start at 0.

    Args:
        file: open for writing.
        look: of the video.
        encoder: FFmpeg's name.
        options: of the encoder.
        frames: each an RGB array ``(H, W, 3)``, uint8 or uint16, its presentation time and its duration.

    Raises:
        VideoError: if PyAV was built without the encoder.
    """
    times, packets = [], []
    with av.open(file, 'w', format='mp4') as container:
        stream = _encoding_stream(container, look, encoder, options)
        for rgb, time, duration in frames:
            frame, last_duration = to_yuv(rgb, look, stream.pix_fmt), duration
            times.append(time)
            frame.pts, frame.time_base = time - times[0], look.time_base
            packets += stream.encode(frame)
        packets += stream.encode(None)
        ranks = {time - times[0]: rank for rank, time in enumerate(times)}
        depth = max(place - ranks[packet.pts] for place, packet in enumerate(packets))
        # x265 leaves times undefined for segments shorter than its look-ahead.
        for packet, time in zip(packets, _decoding_times([time - times[0] for time in times], depth)):
            packet.dts = time
            container.mux(packet)
    return Segment(times, last_duration, depth)


def _decoding_times(times: list[int], depth: int) -> Iterator[int]:
    """Yield the decoding times, in order, of packets whose frames are shown at ``times``.

    A decoding time is the presentation time of the frame ``depth`` positions earlier, so it never exceeds the frame's
    own presentation time.
    """
    depth = min(depth, len(times) - 1)
    lead = times[depth] - times[0]
    return chain((time - lead for time in times[:depth]), times)


def _encoding_stream(container: OutputContainer, look: Look, encoder: str, options: dict[str, str]) -> VideoStream:
    try:
        stream = container.add_stream(encoder, rate=min(look.rate, Fraction(MAX_RATE)), options=options)
    except av.codec.codec.UnknownCodecError as error:
        raise VideoError(f'cannot be written: PyAV has no encoder {encoder} here; choose another --codec') from error
    context = stream.codec_context
    context.width, context.height = look.width, look.height
    # In these encoders, 4:2:0 needs even sizes; other sizes use 4:4:4.
    odd = encoder != 'libsvtav1' and (look.width % 2 or look.height % 2)
    context.pix_fmt = ('yuv444p' if odd else 'yuv420p') + ('10le' if look.deep else '')
    context.time_base = stream.time_base = look.time_base
    context.color_primaries, context.color_trc = look.primaries, look.transfer
    context.colorspace, context.color_range = look.matrix, look.colour_range
    if look.aspect:
        context.sample_aspect_ratio = look.aspect
    return stream


def to_yuv(rgb: np.ndarray, look: Look, pixel_format: str) -> av.VideoFrame:
    """Convert RGB ``(H, W, 3)``, uint8 or uint16, to a frame with the matrix and the range of a video."""
    frame = av.VideoFrame.from_ndarray(rgb, 'rgb48le' if rgb.dtype == np.uint16 else 'rgb24')
    frame.colorspace = look.matrix
    frame = frame.reformat(format=pixel_format, dst_color_range=look.colour_range, interpolation=EXACT)
    frame.color_primaries, frame.color_trc = look.primaries, look.transfer
    return frame


def join(source: Path, segments: list[tuple[Path, Segment]], aspect: Fraction | None, target: Path) -> None:
    """Join segments into one file, and copy the source's other streams without re-encoding.

    Args:
        source: the video that was restored.
        segments: the file and the data of each segment.
        aspect: of the pixels, as in :class:`~hifacegan_plugin.restore.videos.reading.Look`.
        target: ``.mp4``, ``.mov`` or ``.mkv``.

    Raises:
        VideoError: if the format of ``target`` cannot hold one of the streams.
    """
    with open_video(source) as original, open_video(segments[0][0]) as first, target.open('wb') as file:
        video = main_stream(original)
        options = {'movie_timescale': str(_timescale(original))} if target.suffix != '.mkv' else {}
        with av.open(
            file, 'w', format=FORMATS[target.suffix], container_options=options, metadata_errors='surrogateescape'
        ) as container:
            _copy_metadata(container.metadata, original.metadata, ABOUT_THE_FILE)
            container.set_chapters(original.chapters())
            restored, copies = _add_streams(container, original, first.streams.video[0])
            if aspect:
                _set_aspect(restored, aspect, target.suffix)
            try:
                container.start_encoding()
            except (av.FFmpegError, ValueError) as error:
                raise _unfit(target.suffix, 'one of its streams') from error
            packets = [_restored_packets(segments, video.time_base, restored), _copied_packets(original, copies)]
            for packet in merge(*packets, key=_decoding_time):
                container.mux(packet)


def _timescale(original: InputContainer) -> int:
    """Return a time scale, in units a second, that expresses the start times of all streams exactly if possible."""
    units = [stream.time_base.denominator for stream in original.streams if stream.time_base]
    common = math.lcm(*units)
    return common if common < 2**31 else max(units)


def _add_streams(
    container: OutputContainer, original: InputContainer, encoded: VideoStream
) -> tuple[Stream, dict[int, Stream]]:
    """Add streams like those of ``original``; return the restored video's stream, and the others by old index."""
    suffix = f'.{container.format.name}'.replace('matroska', 'mkv')
    video, copies = main_stream(original), {}
    for stream in original.streams:
        if stream is video:
            restored = container.add_stream_from_template(encoded, opaque=True, time_base=stream.time_base)
            if encoded.codec_context.name == 'hevc' and suffix != '.mkv':
                restored.codec_context.codec_tag = 'hvc1'  # the tag that Apple's players need
            restored.metadata.update({tag: stream.metadata[tag] for tag in ABOUT_A_VIDEO if tag in stream.metadata})
            restored.disposition = stream.disposition
        elif stream.disposition & Disposition.attached_pic and suffix == '.mkv':
            _attach(container, original, stream)
        elif stream.codec_context or stream.type == 'attachment':
            try:
                copy = container.add_stream_from_template(stream, opaque=True)
            except (av.FFmpegError, ValueError) as error:
                raise _unfit(suffix, f'its {stream.type} ({stream.name})') from error
            _copy_metadata(copy.metadata, stream.metadata, ABOUT_THE_FILE)
            copy.disposition = stream.disposition
            copies[stream.index] = copy
        elif stream.name != 'bin_data':  # the chapters, which are copied separately
            logger.warning(f'{original.name}: a {stream.type} stream in an unknown format is dropped')
    return restored, copies


def _attach(container: OutputContainer, original: InputContainer, cover: Stream) -> None:
    """Attach a cover image as a file, as .mkv stores it."""
    with open_video(Path(original.name)) as source:
        data = bytes(next(source.demux(source.streams[cover.index])))
    kind = COVER_KINDS.get(cover.name, cover.name)
    name = cover.metadata.get('filename', f'cover.{kind}')
    container.add_attachment(name, cover.metadata.get('mimetype', f'image/{kind}'), data)


def _unfit(suffix: str, what: str) -> VideoError:
    return VideoError(f'cannot be written: {suffix} cannot hold {what}; choose another --format, such as mkv')


def _copy_metadata(target: dict[str, str], source: dict[str, str], leave_out: Iterable[str]) -> None:
    target.update({tag: text for tag, text in source.items() if tag not in leave_out})


def _set_aspect(restored: Stream, aspect: Fraction, suffix: str) -> None:
    """Set the pixel aspect ratio; refuse AV1 in .mkv, where PyAV cannot write it."""
    if suffix == '.mkv' and restored.codec_context.codec.canonical_name == 'av1' and aspect != 1:
        raise VideoError('cannot be written: av1 in .mkv allows square pixels only; choose another --codec or --format')
    restored.codec_context.sample_aspect_ratio = aspect


def _restored_packets(segments: list[tuple[Path, Segment]], time_base: Fraction, stream: Stream) -> Iterator[av.Packet]:
    """Yield the packets of all segments, in decoding order, with their times in the whole video."""
    times = [time for _, segment in segments for time in segment.times]
    decoding_times = _decoding_times(times, max(segment.depth for _, segment in segments))
    for (path, segment), after in zip_longest(segments, segments[1:]):
        end = after[1].times[0] if after else segment.times[-1] + segment.last_duration
        durations = {time: until - time for time, until in pairwise([*segment.times, end])}
        with open_video(path) as container:
            (encoded,) = container.streams.video
            for packet in container.demux(encoded):
                if not packet.size:
                    continue
                packet.pts = int(packet.pts * packet.time_base / time_base) + segment.times[0]
                packet.dts = next(decoding_times)
                packet.duration = durations[packet.pts]
                packet.time_base = time_base
                packet.stream = stream
                yield packet


def _copied_packets(original: InputContainer, copies: dict[int, Stream]) -> Iterator[av.Packet]:
    """Yield the packets of other streams; stop where the file is damaged, which was reported before."""
    packets = original.demux([original.streams[index] for index in copies]) if copies else iter(())
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        gap = packet.stream.name == 'mov_text' and packet.size == 2  # the gap between texts; the muxer writes it again
        if packet.size and not gap:
            packet.stream = copies[packet.stream.index]
            yield packet


def _decoding_time(packet: av.Packet) -> float:
    """Return the decoding time in seconds, or the presentation time if the packet has none."""
    time = packet.pts if packet.dts is None else packet.dts
    return float((time or 0) * packet.time_base)
