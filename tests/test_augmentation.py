"""Warped crops of the training of the packaged networks, against numpy and OpenCV."""

import sys

import cv2
import numpy as np
import pytest
import torch
from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / 'benchmarks'))

from pretrained_parts.augmentation import MARGIN, augment, warp

WIDE, SIDE = 96, 64
BORDER = (WIDE - SIDE) // 2


@pytest.fixture(scope='module')
def images():
    """Smooth colours, (4, 3, 96, 96), whole grey levels."""
    coarse = np.random.default_rng(0).integers(40, 216, (4, 8, 8, 3)).astype(np.uint8)
    smooth = np.stack([cv2.resize(image, (WIDE, WIDE), interpolation=cv2.INTER_CUBIC) for image in coarse])
    return torch.from_numpy(smooth.transpose(0, 3, 1, 2)).float()


def centre(images):
    return images[..., BORDER:-BORDER, BORDER:-BORDER]


@pytest.mark.parametrize('quarters', [0, 1, 2, -1])
def test_quarter_turns_are_exact(images, quarters):
    turned = warp(images, SIDE, (1, 1), (90 * quarters,) * 2, bend=0)
    torch.testing.assert_close(turned, torch.rot90(centre(images), quarters, (2, 3)), atol=0.05, rtol=0)


@pytest.mark.parametrize(('zoom', 'turn'), [(1.2, 0), (0.85, 0), (1, 15), (0.85, -15), (1.2, 10)])
def test_zoom_and_turn_are_those_of_opencv(images, zoom, turn):
    ours = warp(images, SIDE, (zoom, zoom), (turn, turn), bend=0)
    matrix = cv2.getRotationMatrix2D(((WIDE - 1) / 2,) * 2, turn, zoom)
    for image, result in zip(images.numpy(), ours.numpy(), strict=True):
        whole = cv2.warpAffine(image.transpose(1, 2, 0), matrix, (WIDE, WIDE), flags=cv2.INTER_CUBIC)
        expected = whole[BORDER:-BORDER, BORDER:-BORDER].transpose(2, 0, 1)
        assert np.abs(result - expected)[:, 2:-2, 2:-2].mean() < 0.5


def test_bending_moves_as_far_as_it_says():
    """On a ramp, grey levels are coordinates: their change is the displacement."""
    torch.manual_seed(0)
    ramp = torch.arange(WIDE, dtype=torch.float32).expand(200, 1, WIDE, WIDE)
    moved = warp(ramp, SIDE, (1, 1), (0, 0), bend=0.75) - centre(ramp)
    assert float(moved[:, :, ::16, ::16].std()) == pytest.approx(0.75, rel=0.2)
    assert float(moved.diff(dim=3).abs().max()) < 0.6  # nothing folds over


def test_crops_differ_and_show_no_border():
    """What lies outside the drawn crop never shows: a bright frame around it stays out of the result."""
    torch.manual_seed(0)
    side = round(WIDE / MARGIN)
    framed = torch.full((64, 3, WIDE, WIDE), 100.0)
    framed[..., 0, :] = framed[..., -1, :] = framed[..., 0] = framed[..., -1] = 255
    crops = warp(framed, side, (0.85, 1.2), (-15, 15), bend=0)
    assert float(crops.max()) < 101
    images = augment(torch.rand(8, 3, WIDE, WIDE) * 255, side, np.random.default_rng(0))
    assert images.shape == (8, 3, side, side)
    assert torch.equal(images, images.round()) and 0 <= float(images.min()) <= float(images.max()) <= 255
