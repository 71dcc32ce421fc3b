"""Tests of the panels of ``hifacegan stages``, compared with the generator's forward pass."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.archs.csr.shapes import LEVEL_WIDTHS
from hifacegan_plugin.images.sheets import LABEL_HEIGHT, MARGIN
from hifacegan_plugin.restore import stages
from hifacegan_plugin.weights import PACKAGED, generator_options, load_generator, write_weights

HEIGHT, WIDTH = 72, 100  # neither is a multiple of 32


@pytest.fixture
def face():
    return np.ascontiguousarray(data.astronaut()[50 : 50 + HEIGHT, 180 : 180 + WIDTH])


def cut(panel, row, column):
    """Return the image at a position of a panel, without its label."""
    top = row * (HEIGHT + LABEL_HEIGHT + MARGIN) + LABEL_HEIGHT
    left = column * (WIDTH + MARGIN)
    return panel[top : top + HEIGHT, left : left + WIDTH]


def restored(generator, face):
    x = torch.from_numpy(face.transpose(2, 0, 1).copy())[None] / 255
    with torch.no_grad():
        return (generator(x)[0].clamp(0, 1) * 255).round().byte().numpy().transpose(1, 2, 0)


def test_a_grey_network_gets_the_luma(face, lively_generator):
    generator = lively_generator(num_in_ch=1).eval()
    luma = face.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    with torch.no_grad():
        expected = (generator(torch.from_numpy(luma)[None, None] / 255)[0, 0].clamp(0, 1) * 255).round().numpy()
    panel = cut(stages.draw_panels(generator, face)['progressive'], 0, 8)
    assert np.abs(panel - expected[..., None]).max() <= 1 and expected.std() > 1


@pytest.mark.parametrize(
    ('options', 'units'),
    [
        ({}, 7),
        ({'variant': 'lip_spade'}, 7),
        ({'variant': 'spade', 'global_residual': True}, 7),
        ({'preset': 'fast'}, 3),
    ],
    ids=['csr', 'lip_spade', 'spade', 'fast'],
)
def test_the_last_panels_show_the_generators_output(options, units, face, lively_generator):
    generator = lively_generator(**options).eval()
    panels = stages.draw_panels(generator, face)
    maps = {'suppression'} if options.get('variant') != 'spade' else set()
    assert set(panels) == {'progressive', 'left_out'} | maps
    full = restored(generator, face)
    assert np.array_equal(cut(panels['progressive'], 0, 0), face)
    assert np.abs(cut(panels['progressive'], 0, units + 1).astype(int) - full).max() <= 1
    assert np.abs(cut(panels['left_out'], 0, 0).astype(int) - full).max() <= 1
    shown = [cut(panels[name], 0, column) for name in ('progressive', 'left_out') for column in range(1, units + 1)]
    assert len({image.tobytes() for image in shown}) == 2 * units - 1  # 6 of 7 units are the same as without unit 7


def test_each_panel_changes_the_guidance_of_its_units(face, lively_generator):
    generator = lively_generator().eval()
    steered = []
    for unit, block in enumerate(generator.blocks):
        block.register_forward_hook(
            lambda block, given, result, unit=unit: steered.append((unit, given[1].std((2, 3)).max().item() > 1e-4))
        )
    stages.draw_panels(generator, face)
    passes = [steered[i : i + 7] for i in range(0, len(steered), 7)]
    assert [[unit for unit, is_steered in run if is_steered] for run in passes] == [
        *(list(range(n)) for n in range(8)),
        *([u for u in range(7) if u != left_out] for left_out in range(7)),
    ]


def test_another_image_replaces_the_neutral_guidance(face, lively_generator):
    generator = lively_generator(variant='spade').eval()
    other = np.ascontiguousarray(face[::-1])
    panels = stages.draw_panels(generator, face, other)
    # With the same image as guidance, the output does not change.
    same = stages.draw_panels(generator, face, face)
    first, last = (cut(same['progressive'], 0, column) for column in (1, 8))
    assert np.abs(first.astype(int) - last).max() <= 1
    assert not np.array_equal(cut(panels['progressive'], 0, 1), first)


def test_importance_equals_the_weights_of_the_pooling(face, lively_generator):
    generator = lively_generator().eval()
    x = stages.to_tensor(generator, face)
    logits = []
    for level in generator.suppression.levels:
        level.pool.logit_norm.register_forward_hook(lambda module, given, result: logits.append(result))
    with torch.no_grad():
        generator(x)
        maps = stages.importance_maps(generator, x)
    modules = len(LEVEL_WIDTHS) - 1
    assert [m.shape for m in maps] == [(x.shape[2] >> i, x.shape[3] >> i) for i in range(modules)]
    for shown, logit in zip(maps, logits):
        expected = (12 / (1 + np.exp(-logit[0].double().numpy())) - 6).mean(0)
        assert np.allclose(shown, expected, atol=1e-4)


def test_the_command_writes_the_panels(face, lively_generator, tmp_path, capsys):
    generator = lively_generator(norm='rms')
    write_weights(tmp_path / 'w.safetensors', generator.state_dict(), generator_options(generator))
    cv2.imwrite(str(tmp_path / 'face.png'), face[..., ::-1])
    command = ['stages', '-i', str(tmp_path / 'face.png'), '-w', str(tmp_path / 'w.safetensors')]
    assert main([*command, '-o', str(tmp_path / 'out')]) == 0
    expected = stages.draw_panels(generator.eval(), face)
    printed = capsys.readouterr().out
    for name, panel in expected.items():
        file = tmp_path / f'out/face_{name}.png'
        assert str(file) in printed
        assert np.array_equal(cv2.imread(str(file))[..., ::-1], panel)
    assert main([*command, '-o', str(tmp_path / 'mixed'), '--mix', str(tmp_path / 'face.png')]) == 0


def test_the_command_accepts_a_packaged_network(face, tmp_path):
    cv2.imwrite(str(tmp_path / 'face.png'), face[..., ::-1])
    for model, options in {'general': [], 'faces': ['--model', 'faces']}.items():
        assert main(['stages', '-i', str(tmp_path / 'face.png'), '-o', str(tmp_path / model), *options]) == 0
        expected = stages.draw_panels(load_generator(PACKAGED[model]), face)
        for name, panel in expected.items():
            assert np.array_equal(cv2.imread(str(tmp_path / model / f'face_{name}.png'))[..., ::-1], panel)


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        ('face.png', 'face.png is not an image'),
        ('w.safetensors', 'w.safe'),
        ('out', 'out is a file, not a folder: name a folder, or move the file away.'),
        ('nothing', '40x30'),
    ],
)
def test_invalid_input_is_reported(broken, message, lively_generator, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generator = lively_generator()
    write_weights(Path('w.safetensors'), generator.state_dict(), generator_options(generator))
    cv2.imwrite('face.png', np.zeros((30, 40, 3), np.uint8))
    Path(broken).write_bytes(b'garbage')
    assert main(['stages', '-i', 'face.png', '-w', 'w.safetensors', '-o', 'out']) == 2
    assert message in capsys.readouterr().err
    assert not Path('out').is_dir()
