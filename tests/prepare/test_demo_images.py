"""Tests of the images of ``make demo``: the statistics of dead leaves resemble those of photographs."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import REPOSITORY

SCRIPTS = REPOSITORY / 'data_prep'


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('demo')
    subprocess.run([sys.executable, SCRIPTS / 'make_demo_images.py', '-o', folder], check=True)
    return folder


def read(folder: Path, pattern: str) -> list[np.ndarray]:
    return [cv2.imread(str(file)) for file in sorted(folder.glob(pattern))]


def spectral_slope(image: np.ndarray) -> float:
    """Return the slope of the power spectrum over the frequency, both logarithmic."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(float)
    side = min(grey.shape)
    window = np.hanning(side)[:, None] * np.hanning(side)
    power = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean())[:side, :side] * window))) ** 2
    distance = np.hypot(*np.meshgrid(*2 * [np.arange(side) - side // 2])).round().astype(int)
    mean = np.bincount(distance.ravel(), power.ravel()) / np.bincount(distance.ravel())
    frequencies = np.arange(8, side // 4)
    return np.polyfit(np.log(frequencies), np.log(mean[frequencies]), 1)[0]


def test_number_and_size_of_the_images(folder):
    training = read(folder, 'train/*.png')
    assert len(training) == 27
    pixels = [image[..., 0].size for image in training]
    assert max(pixels) < 0.1 * sum(pixels)  # no image dominates
    assert {image.shape for image in read(folder, 'heldout/*.png')} == {(256, 256, 3)}


def test_dead_leaves_have_the_spectrum_of_natural_images(folder):
    # Power falls roughly with the square of the frequency (Lee, Mumford, Huang, IJCV 2001, section 1).
    slopes = [spectral_slope(image) for image in read(folder, 'train/leaves*.png')]
    assert -3 < np.mean(slopes) < -2, slopes
    assert spectral_slope(np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)) > -0.2  # white noise


def test_dead_leaves_have_sharp_edges(folder):
    """Most neighbouring pixels are equal; the large steps at edges give a high kurtosis."""
    for image in read(folder, 'train/leaves*.png'):
        steps = np.diff(image[..., 1].astype(float), axis=1).ravel()
        assert np.median(np.abs(steps)) == 0
        assert np.mean(steps**4) / np.mean(steps**2) ** 2 > 10  # kurtosis; 3 for a normal distribution


def test_images_are_reproducible(folder, tmp_path):
    subprocess.run([sys.executable, SCRIPTS / 'make_demo_images.py', '-o', tmp_path], check=True)
    for again, image in zip(read(tmp_path, 'train/leaves*.png'), read(folder, 'train/leaves*.png'), strict=True):
        np.testing.assert_array_equal(again, image)
