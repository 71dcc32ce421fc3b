"""Tests of restoring videos; results are compared with the inputs as read by PyAV."""

import struct
import weakref
from fractions import Fraction
from itertools import count, pairwise

import av
import cv2
import numpy as np
import pytest
from held_lock import holder
from skimage import data

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.restore.videos import restoring
from hifacegan_plugin.restore.videos.options import CODECS, RESULT_SUFFIXES, VideoError, VideoOptions
from hifacegan_plugin.restore.videos.restoring import restore_video
from hifacegan_plugin.restore.videos.temporal import Smoother

TIMES = [0, 512, 1000, 5000, 5120, 5632, 9000, 9001, 12000, 12288]  # of frames, in 1/12800 s
BEST = {'crf': '0'}


def identity(image):
    return image


def photos(number, height=64, width=96, shift=2):
    """Return crops of a photograph, each moved by ``shift`` pixels."""
    photo = data.astronaut()
    return [np.ascontiguousarray(photo[40 : 40 + height, 100 + shift * i :][:, :width]) for i in range(number)]


def write_video(
    path, images, times=None, time_base=Fraction(1, 12800), codec='libx264', pixel_format='yuv420p', options=(),
    sound=None, subtitles=None, chapters=(), title=None, rotation=None, matrix=1, full=False, aspect=None,
):  # fmt: skip
    """Write RGB images or frames as a video."""
    start = {'movflags': 'faststart'} if str(path).endswith('mp4') else {}  # the index before the frames
    with av.open(str(path), 'w', container_options=start) as container:
        stream = container.add_stream(codec, rate=25, options=dict(options))
        first = images[0] if isinstance(images[0], av.VideoFrame) else av.VideoFrame.from_ndarray(images[0], 'rgb24')
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = first.width, first.height, pixel_format
        context.time_base = stream.time_base = time_base
        context.flags |= av.codec.context.Flags.frame_duration
        context.colorspace, context.color_range = matrix, 2 if full else 1
        context.color_primaries, context.color_trc = (9, 14) if matrix == 9 else (1, 13)
        if aspect:
            context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(**rotation)
        if sound:
            sounding = container.add_stream(sound, rate=48000)
        if subtitles:
            titled = container.add_mux_stream(subtitles, time_base=Fraction(1, 1000))
            titled.metadata['language'] = 'fra'
        if title:
            container.metadata['title'] = title
        container.set_chapters(list(chapters))
        if sound:
            tone = (np.sin(np.arange(48000) / 20) * 9000).astype(np.int16)
            block = av.AudioFrame.from_ndarray(np.repeat(tone, 2)[None], 's16', 'stereo')
            block.sample_rate, block.pts = 48000, 0
            coded = [*sounding.encode(block), *sounding.encode(None)]
        for image, time in zip(images, times or range(0, 512 * len(images), 512)):
            frame = image if isinstance(image, av.VideoFrame) else av.VideoFrame.from_ndarray(image, 'rgb24')
            frame.colorspace = matrix
            frame = frame.reformat(format=pixel_format, dst_color_range=2 if full else 1)
            frame.pts, frame.duration, frame.time_base = time, 777 if time == TIMES[-1] else 1, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            container.mux(coded)
        if subtitles:
            texts = ['Bonjour', 'à tous']
            for i, text in enumerate(texts):
                body = text.encode()
                packet = av.Packet(len(body).to_bytes(2, 'big') + body if subtitles == 'mov_text' else body)
                packet.pts = packet.dts = 200 * i + 100
                packet.duration, packet.time_base, packet.stream = 150, Fraction(1, 1000), titled
                container.mux(packet)
    return path


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def frames_of(path):
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times_of(path):
    return [frame.pts * frame.time_base for frame in frames_of(path)]


def packets_of(path, kind):
    """Return the packets of the other streams: bytes, time and duration."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        packets = {stream.index: [] for stream in streams}
        for packet in container.demux(streams):
            if packet.size:
                packets[packet.stream.index].append(
                    (bytes(packet), float(packet.pts * packet.time_base), float(packet.duration * packet.time_base))
                )
        return [packets[stream.index] for stream in streams], [stream.language for stream in streams]


def images_of(path):
    return [frame.to_ndarray(format='rgb24') for frame in frames_of(path)]


def difference(image, other):
    return np.abs(image.astype(int) - other).mean()


@pytest.mark.parametrize(('suffix', 'sound', 'subtitles'), [
    ('mp4', 'aac', 'mov_text'), ('mov', 'pcm_s16le', 'mov_text'), ('mkv', 'libopus', 'subrip'), ('mkv', 'ac3', 'ass'),
])  # fmt: skip
def test_sound_subtitles_chapters_and_tags_are_kept(tmp_path, suffix, sound, subtitles):
    chapters = [
        {'id': i, 'start': 400 * i, 'end': 400 * i + 400, 'time_base': Fraction(1, 1000), 'metadata': {'title': name}}
        for i, name in enumerate(['One', 'Zwei'])
    ]
    source = write_video(
        tmp_path / f'a.{suffix}', photos(20), sound=sound, subtitles=subtitles, chapters=chapters, title='Fête'
    )
    target = tmp_path / f'out/a.{suffix}'
    assert restore_video(identity, source, target) == 20
    for kind in ('audio', 'subtitle'):
        (packets,), languages = packets_of(source, kind)
        assert len(packets) > 1
        assert packets_of(target, kind) == ([packets], languages)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        assert [chapter['metadata'] for chapter in after.chapters()] == [{'title': 'One'}, {'title': 'Zwei'}]
        for chapter, kept in zip(before.chapters(), after.chapters()):
            for end in ('start', 'end'):
                assert kept[end] * kept['time_base'] == chapter[end] * chapter['time_base']
        assert after.metadata['title'] == 'Fête'
        assert [stream.type for stream in after.streams] == [stream.type for stream in before.streams]
    assert times_of(target) == times_of(source)
    assert names_in(tmp_path / 'out') == [f'a.{suffix}']


@pytest.mark.parametrize('codec', CODECS)
def test_times_of_a_variable_rate_are_kept(tmp_path, codec, monkeypatch):
    """Also across segments that are shorter than the lookahead of the encoder."""
    monkeypatch.setattr(restoring, 'FRAMES_A_SEGMENT', 4)
    source = write_video(tmp_path / 'a.mp4', photos(10), TIMES, options={'bf': '0'})
    restore_video(identity, source, tmp_path / 'b.mp4', VideoOptions(codec, crf=10))
    assert times_of(tmp_path / 'b.mp4') == [Fraction(time, 12800) for time in TIMES]
    for image, result in zip(images_of(source), images_of(tmp_path / 'b.mp4')):
        assert difference(image, result) < 5
    content = (tmp_path / 'b.mp4').read_bytes()
    units, duration = struct.unpack('>II', content[content.index(b'mvhd') + 16 :][:8])  # ISO/IEC 14496-12, 8.2.2
    assert duration / units == (TIMES[-1] + 777) / 12800
    with av.open(str(tmp_path / 'b.mp4')) as after:
        decoding = [packet.dts for packet in after.demux(video=0) if packet.size]
        assert decoding == sorted(set(decoding))


@pytest.mark.parametrize('codec', CODECS)
def test_rates_above_240(tmp_path, codec):
    source = write_video(tmp_path / 'a.mp4', photos(8), range(0, 8000, 1000), Fraction(1, 479999))
    restore_video(identity, source, tmp_path / 'b.mp4', VideoOptions(codec))
    assert times_of(tmp_path / 'b.mp4') == [Fraction(i * 1000, 479999) for i in range(8)]


def test_the_start_time_is_kept(tmp_path):
    source = write_video(tmp_path / 'a.mp4', photos(5), range(1111, 5000, 512), sound='aac')
    restore_video(identity, source, tmp_path / 'b.mp4')
    assert times_of(source)[0] > 0.08
    assert times_of(tmp_path / 'b.mp4') == times_of(source)
    assert packets_of(tmp_path / 'b.mp4', 'audio') == packets_of(source, 'audio')


WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # ITU-R BT.709, 601, 2020


def rgb_by_definition(luma, blue, red, matrix, full):
    """Convert an 8-bit Y'CbCr colour to 8-bit RGB (ITU-R BT.601, 709 and 2020)."""
    weight_red, weight_blue = WEIGHTS[matrix]
    y = luma / 255 if full else (luma - 16) / 219
    cb, cr = ((value - 128) / (255 if full else 224) for value in (blue, red))
    r, b = y + 2 * (1 - weight_red) * cr, y + 2 * (1 - weight_blue) * cb
    g = (y - weight_red * r - weight_blue * b) / (1 - weight_red - weight_blue)
    return np.array([r, g, b]) * 255


@pytest.mark.parametrize('full', [False, True], ids=['limited', 'full'])
@pytest.mark.parametrize('matrix', WEIGHTS)
@pytest.mark.parametrize('codec', CODECS)
def test_tagged_colours(tmp_path, codec, matrix, full):
    colours = [(90, 100, 160), (160, 150, 110), (120, 90, 120), (180, 128, 128)]
    planes = np.concatenate([np.full((1, 64, 32), 1) * np.array(c)[:, None, None] for c in colours], axis=2)
    frame = av.VideoFrame.from_ndarray(planes.astype(np.uint8), 'yuv444p')
    frame.color_range = 2 if full else 1
    source = write_video(tmp_path / 'a.mp4', [frame], pixel_format='yuv444p', options=BEST, matrix=matrix, full=full)
    seen = []
    restore_video(lambda x: seen.append(x) or x, source, tmp_path / 'b.mp4', VideoOptions(codec, crf=4))
    (result,) = frames_of(tmp_path / 'b.mp4')
    assert result.format.name.replace('j', '') == 'yuv420p'
    out = result.reformat(format='yuvj444p' if full else 'yuv444p').to_ndarray()
    for i, colour in enumerate(colours):
        assert np.abs(seen[0][32, 32 * i + 16] - rgb_by_definition(*colour, matrix, full)).max() < 1
        assert np.abs(out[:, 32, 32 * i + 16].astype(int) - colour).max() <= 2
    tags = [result.colorspace, result.color_range, result.color_primaries, result.color_trc]
    assert tags == [matrix, 2 if full else 1, *((9, 14) if matrix == 9 else (1, 13))]


@pytest.mark.parametrize(('height', 'matrix'), [(480, 6), (576, 5), (720, 1)])
def test_untagged_colours(tmp_path, height, matrix):
    frame = av.VideoFrame.from_ndarray(np.full((3, height, 64), [[[90]], [[100]], [[160]]], np.uint8), 'yuv444p')
    source = write_video(tmp_path / 'a.mp4', [frame], pixel_format='yuv444p', options=BEST, matrix=2)
    seen = []
    restore_video(lambda x: seen.append(x) or x, source, tmp_path / 'b.mp4')
    assert np.abs(seen[0][9, 9] - rgb_by_definition(90, 100, 160, matrix, False)).max() < 1
    assert frames_of(tmp_path / 'b.mp4')[0].colorspace == matrix


@pytest.mark.parametrize('codec', CODECS)
def test_more_than_8_bits_are_kept(tmp_path, codec):
    ramp = np.broadcast_to(np.linspace(0, 65535, 256).astype(np.uint16)[None, :, None], (64, 256, 3))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(ramp), 'rgb48le')
    source = write_video(tmp_path / 'a.mp4', [frame], pixel_format='yuv420p10le', options=BEST, matrix=9)
    seen = []
    restore_video(lambda x: seen.append(x) or x, source, tmp_path / 'b.mp4', VideoOptions(codec, crf=1))
    assert seen[0].dtype == np.uint16
    (result,) = frames_of(tmp_path / 'b.mp4')
    assert result.format.name == 'yuv420p10le'
    luma = np.frombuffer(result.planes[0], np.uint16).reshape(64, -1)[32, :256]
    assert np.abs(luma - np.linspace(64, 940, 256)).max() < 6
    assert len(np.unique(luma)) > 200  # 8 bits have only 220 levels, not all of which would occur


@pytest.mark.parametrize('codec', CODECS)
def test_odd_sizes(tmp_path, codec):
    image = np.full((73, 97, 3), 60, np.uint8)
    image[-1], image[:, -1] = 200, 200
    source = write_video(tmp_path / 'a.mp4', [image] * 3, pixel_format='yuv444p', options=BEST)
    restore_video(identity, source, tmp_path / 'b.mp4', VideoOptions(codec, crf=2))
    for result in images_of(tmp_path / 'b.mp4'):
        assert result.shape == (73, 97, 3)
        assert np.abs(result[:, -1].astype(int) - 200).mean() < 12
        assert np.abs(result[-1].astype(int) - 200).mean() < 12
        assert np.abs(result[:-2, :-2].astype(int) - 60).mean() < 3


@pytest.mark.parametrize(('rotation', 'turn'), [
    ({'degrees': 90}, lambda x: np.rot90(x)),
    ({'degrees': -90}, lambda x: np.rot90(x, -1)),
    ({'degrees': 180}, lambda x: np.rot90(x, 2)),
    ({'degrees': 0, 'hflip': True}, lambda x: x[:, ::-1]),
    ({'degrees': 90, 'vflip': True}, lambda x: np.rot90(x)[::-1]),
])  # fmt: skip
def test_a_rotated_video_is_restored_upright(tmp_path, rotation, turn):
    source = write_video(
        tmp_path / 'a.mp4', photos(3), pixel_format='yuv444p', options=BEST, rotation=rotation, aspect=Fraction(16, 11)
    )
    seen = []
    restore_video(lambda x: seen.append(x) or x, source, tmp_path / 'b.mp4', VideoOptions(crf=8))
    with av.open(str(tmp_path / 'b.mp4')) as container:
        stream = container.streams.video[0]
        quarter = rotation['degrees'] % 180 != 0
        assert stream.sample_aspect_ratio == (Fraction(11, 16) if quarter else Fraction(16, 11))
        results = list(container.decode(stream))
    for image, upright, result in zip(photos(3), seen, results):
        assert difference(turn(image), upright) < 3
        assert result.rotation == 0
        assert difference(turn(image), result.to_ndarray(format='rgb24')) < 8


def test_a_video_at_an_angle_is_refused(tmp_path):
    source = write_video(tmp_path / 'a.mp4', photos(1), rotation={'degrees': 30})
    with pytest.raises(VideoError, match='not a multiple of 90 degrees'):
        restore_video(identity, source, tmp_path / 'b.mp4')


@pytest.mark.parametrize('codec', CODECS)
@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
def test_pixel_aspect_ratios_are_kept(tmp_path, codec, suffix):
    source = write_video(tmp_path / 'a.mp4', photos(2), aspect=Fraction(4, 3))
    target = tmp_path / f'b.{suffix}'
    if (codec, suffix) == ('av1', 'mkv'):
        with pytest.raises(VideoError, match='square pixels'):
            restore_video(identity, source, target, VideoOptions(codec))
        return
    restore_video(identity, source, target, VideoOptions(codec))
    with av.open(str(target)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(('name', 'result'), [
    ('b.avi', 'b.mp4'), ('c.webm', 'c.mkv'), ('12:30:45.mp4', '12:30:45.mp4'),
])  # fmt: skip
def test_kinds_and_names(tmp_path, monkeypatch, name, result):
    """Sound is copied; a colon in a relative name is not a protocol."""
    monkeypatch.chdir(tmp_path)
    codec, sound = ('libvpx-vp9', 'libopus') if name == 'c.webm' else ('mpeg4', 'libmp3lame')
    write_video('file:' + name, photos(6), range(6), Fraction(1, 25), codec=codec, sound=sound)
    assert main(['restore', '-i', name, '-o', 'out']) == 0
    assert names_in(tmp_path / 'out') == [result]
    (before,), _ = packets_of('file:' + name, 'audio')
    (after,), _ = packets_of(f'file:out/{result}', 'audio')
    assert [packet[0] for packet in after] == [packet[0] for packet in before]
    assert times_of(f'file:out/{result}') == times_of('file:' + name)


@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
def test_cover_images_are_kept(tmp_path, suffix):
    cover = cv2.imencode('.png', photos(1)[0])[1].tobytes()
    still = write_video(tmp_path / 'still.mp4', photos(1), codec='png', pixel_format='rgb24')
    with av.open(str(write_video(tmp_path / 'plain.mp4', photos(3)))) as plain, av.open(str(still)) as image, \
            av.open(str(tmp_path / f'a.{suffix}'), 'w') as container:  # fmt: skip
        streams = [(plain, container.add_stream_from_template(plain.streams.video[0], opaque=True))]
        if suffix == 'mkv':
            container.add_attachment('cover.png', 'image/png', cover)
        else:
            streams.append((image, container.add_stream_from_template(image.streams.video[0], opaque=True)))
            streams[1][1].disposition = av.stream.Disposition.attached_pic
        for source, stream in streams:
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    container.mux(packet)
    assert restore_video(identity, tmp_path / f'a.{suffix}', tmp_path / f'b.{suffix}') == 3
    covers = []
    for name in 'ab':
        with av.open(str(tmp_path / f'{name}.{suffix}')) as container:
            assert len(container.streams) == 2
            stream = container.streams.video[1]
            assert stream.disposition & av.stream.Disposition.attached_pic
            covers.append(bytes(next(container.demux(stream))))
    assert covers[0] == covers[1]


def test_streams_that_the_format_does_not_support_are_refused(tmp_path, capsys):
    source = write_video(tmp_path / 'a.mkv', photos(2), subtitles='subrip')
    assert main(['restore', '-i', str(source), '-o', str(tmp_path / 'out'), '--format', 'mp4']) == 1
    assert 'a.mkv cannot be written: .mp4 cannot hold' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
    assert main(['restore', '-i', str(source), '-o', str(tmp_path / 'out'), '--codec', 'h265', '--crf', '30']) == 0
    with av.open(str(tmp_path / 'out/a.mkv')) as container:
        assert container.streams.video[0].codec_context.name == 'hevc'


def test_crf(tmp_path, capsys):
    source = write_video(tmp_path / 'a.mp4', photos(3))
    sizes = []
    for crf in (5, 45):
        restore_video(identity, source, tmp_path / 'b.mp4', VideoOptions(crf=crf))
        sizes.append((tmp_path / 'b.mp4').stat().st_size)
    assert sizes[0] > 1.5 * sizes[1]
    assert main(['restore', '-i', str(source), '-o', str(tmp_path / 'out'), '--crf', '52']) == 2
    assert 'crf 52: of h264 it is 0 to 51' in capsys.readouterr().err


def test_a_frame_that_cannot_be_restored_is_copied_and_reported(tmp_path):
    number = count()

    def restore(image):
        if next(number) == 2:
            raise ValueError('not a number')
        return 255 - image

    source = write_video(tmp_path / 'a.mp4', photos(6), options=BEST)
    with pytest.raises(VideoError, match=r'the frame at 0.080 s is that of the input \(not a number\); the others'):
        restore_video(restore, source, tmp_path / 'b.mp4', VideoOptions(crf=5))
    for i, (image, result) in enumerate(zip(images_of(source), images_of(tmp_path / 'b.mp4'), strict=True)):
        assert difference(image if i == 2 else 255 - image, result) < 4
    assert names_in(tmp_path) == ['a.mp4', 'b.mp4']


def test_a_video_without_restorable_frames_is_an_error(tmp_path):
    def restore(image):
        raise ValueError('these weights are for grey images')

    source = write_video(tmp_path / 'a.mp4', photos(3))
    with pytest.raises(VideoError, match=r'^these weights are for grey images$'):
        restore_video(restore, source, tmp_path / 'b.mp4')
    assert names_in(tmp_path) == ['a.mp4']


def test_a_frame_that_cannot_be_decoded_is_reported_and_skipped(tmp_path):
    source = write_video(
        tmp_path / 'a.avi', photos(6), range(6), Fraction(1, 25), codec='mjpeg', pixel_format='yuvj420p', full=True
    )
    with av.open(str(source)) as container:
        bad = [(packet.pos, packet.size) for packet in container.demux(video=0)][3]
    content = bytearray(source.read_bytes())
    start = content.index(b'\xff\xd8', bad[0])
    content[start : start + bad[1]] = bytes(bad[1])
    source.write_bytes(content)
    with pytest.raises(VideoError, match=r'the frame at 0.120 s cannot be decoded'):
        restore_video(identity, source, tmp_path / 'b.mp4')
    assert times_of(tmp_path / 'b.mp4') == [Fraction(i, 25) for i in (0, 1, 2, 4, 5)]


@pytest.mark.parametrize('suffix', ['avi', 'mkv', 'mp4'])
def test_a_truncated_video_is_reported(tmp_path, suffix):
    noise = list(np.random.default_rng(0).integers(0, 256, (12, 64, 96, 3), np.uint8))
    source = write_video(tmp_path / f'a.{suffix}', noise, range(12), Fraction(1), codec='mpeg4', options={'g': '1'})
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    result = RESULT_SUFFIXES[source.suffix]
    for _ in range(2):  # the result of the first run does not count as complete
        with pytest.raises(VideoError, match=r'is damaged: [\d.]+ of 1[12]\.?0* (frames|seconds) could be read'):
            restore_video(identity, source, tmp_path / f'out/a{result}', resume=True)
        assert names_in(tmp_path / 'out') == [f'a.incomplete{result}']
        assert 1 < len(frames_of(tmp_path / f'out/a.incomplete{result}')) < 12


@pytest.mark.parametrize('temporal', [False, True])
def test_a_stopped_run_can_be_resumed(tmp_path, monkeypatch, temporal):
    """Only missing frames are restored, and the result is byte for byte the same as without a stop."""
    monkeypatch.setattr(restoring, 'FRAMES_A_SEGMENT', 5)
    source = write_video(tmp_path / 'a.mp4', photos(18), sound='aac')
    options = VideoOptions('h265', temporal=temporal)  # x264 may encode the same frames differently
    restored = []

    def restore(image):
        restored.append(image)
        if len(restored) == 13:
            raise KeyboardInterrupt
        return cv2.GaussianBlur(image, (0, 0), 1)

    with pytest.raises(KeyboardInterrupt):
        restore_video(restore, source, tmp_path / 'out/a.mp4', options)
    assert names_in(tmp_path / 'out') == ['.a.mp4.segments']
    left = names_in(tmp_path / 'out/.a.mp4.segments')
    assert [name for name in left if name.endswith('.mp4')] == ['000000.mp4', '000001.mp4']
    (tmp_path / 'out/.a.mp4.segments/.0123.part.mp4').write_bytes(b'of a run that was killed')
    assert restore_video(restore, source, tmp_path / 'out/a.mp4', options, resume=True) == 18
    assert len(restored) == 13 + 8
    assert names_in(tmp_path / 'out') == ['a.mp4']
    restore_video(restore, source, tmp_path / 'whole/a.mp4', options)
    assert (tmp_path / 'out/a.mp4').read_bytes() == (tmp_path / 'whole/a.mp4').read_bytes()


def test_only_one_process_writes_a_result(tmp_path):
    source = write_video(tmp_path / 'a.mp4', photos(2))
    (tmp_path / 'out/.a.mp4.segments').mkdir(parents=True)
    with holder(tmp_path / 'out/.a.mp4.lock') as (owner, _):
        with pytest.raises(VideoError, match=rf'is being restored into .*out/a.mp4 by process {owner.pid} on .*: wait'):
            restore_video(identity, source, tmp_path / 'out/a.mp4')
        assert names_in(tmp_path / 'out') == ['.a.mp4.lock', '.a.mp4.segments']
    assert restore_video(identity, source, tmp_path / 'out/a.mp4') == 2
    assert names_in(tmp_path / 'out') == ['a.mp4']


@pytest.mark.parametrize('change', ['options', 'network', 'no resume'])
def test_segments_of_other_options_are_not_reused(tmp_path, monkeypatch, change):
    monkeypatch.setattr(restoring, 'FRAMES_A_SEGMENT', 2)
    source = write_video(tmp_path / 'a.mp4', photos(5))

    number = count()

    def stop(image):
        if next(number) == 3:
            raise KeyboardInterrupt
        return image

    with pytest.raises(KeyboardInterrupt):
        restore_video(stop, source, tmp_path / 'b.mp4', network='x', resume=True)
    restored = []
    restore_video(
        lambda image: restored.append(1) or image, source, tmp_path / 'b.mp4',
        VideoOptions(crf=30 if change == 'options' else None),
        network='y' if change == 'network' else 'x', resume=change != 'no resume',
    )  # fmt: skip
    assert len(restored) == 5


def test_memory_does_not_grow_with_the_length(tmp_path, monkeypatch):
    """Only a few frames are held at a time."""
    images, alive = [], []

    def restore(image):
        images.append(weakref.ref(image))
        alive.append(sum(image() is not None for image in images))
        return image.copy()

    restore_video(restore, write_video(tmp_path / 'a.mp4', photos(150, shift=1)), tmp_path / 'b.mp4')
    assert len(alive) == 150
    assert max(alive) <= 3


def test_playlists_are_refused(tmp_path):
    write_video(tmp_path / 'secret.mp4', photos(2))
    texts = {'hls.mp4': '#EXTM3U\n#EXTINF:1,\nsecret.mp4', 'list.mp4': 'ffconcat version 1.0\nfile secret.mp4'}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(VideoError, match='is not a video that can be read'):
            restore_video(identity, tmp_path / name, tmp_path / 'out.mp4')


def test_dropped_alpha_is_logged(tmp_path, caplog):
    write_video(tmp_path / 'a.mov', photos(2), codec='qtrle', pixel_format='argb')
    restore_video(identity, tmp_path / 'a.mov', tmp_path / 'b.mov')
    assert [record.message for record in caplog.records] == [f'{tmp_path / "a.mov"}: the alpha channel is dropped']


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda path: path.symlink_to('nothing.mp4'), r'cannot be read \(No such file or directory\)'),
        (lambda path: path.touch(), r'is not a video that can be read'),
    ],
    ids=['broken link', 'empty'],
)
def test_unreadable_videos_are_reported(tmp_path, make, message):
    make(tmp_path / 'a.mp4')
    with pytest.raises(VideoError, match=message):
        restore_video(identity, tmp_path / 'a.mp4', tmp_path / 'out/a.mp4')
    assert list((tmp_path / 'out').iterdir()) == []


def test_missing_pyav_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('hifacegan_plugin.commands.restore.find_spec', lambda name: None)
    source = write_video(tmp_path / 'a.mp4', photos(1))
    assert main(['restore', '-i', str(source), '-o', str(tmp_path / 'out')]) == 1
    assert 'pip install "hifacegan-plugin[video]"' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def flicker(images, shift):
    """Return the mean difference of each image from the previous one, moved by ``shift`` pixels to the left."""
    pairs = pairwise(images)
    width = images[0].shape[1] - shift
    return np.mean([np.abs(after[:, :width].astype(float) - before[:, shift:]).mean() for before, after in pairs])


@pytest.mark.parametrize('shift', [0, 3], ids=['still', 'pan'])
def test_temporal_smoothing_reduces_flicker_without_blur(shift):
    """Blurred noisy frames of a still scene and of a pan flicker less and are closer to the ground truth."""
    rng = np.random.default_rng(0)
    truths = photos(10, 128, 128, shift)
    frames = [np.clip(truth + rng.normal(0, 15, truth.shape), 0, 255).astype(np.uint8) for truth in truths]
    restored = [cv2.GaussianBlur(frame, (0, 0), 0.8) for frame in frames]
    smoother = Smoother()
    smoothed = [smoother(frame, result) for frame, result in zip(frames, restored)]
    assert flicker(smoothed, shift) < 0.5 * flicker(restored, shift)
    errors = [np.mean([(image.astype(float) - truth) ** 2 for image, truth in zip(images[3:], truths[3:])])
              for images in (restored, smoothed)]  # fmt: skip
    assert errors[1] < errors[0]


def test_temporal_smoothing_does_not_affect_cuts():
    before, after = photos(2, shift=90)
    smoother = Smoother()
    smoother(before, before)
    assert difference(smoother(after, after), after) < 2
