import cv2
import numpy as np
import pytest
import pytorch_msssim
import torch
from basicsr.metrics import calculate_ssim
from basicsr.metrics.metric_util import to_y_channel
from scipy import ndimage
from skimage import data
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from hifacegan_plugin.metrics import calculate_msssim

TRUTH = data.astronaut()[:256, :288, ::-1]


def noisy(image):
    return np.clip(image + np.random.default_rng(0).normal(0, 30, image.shape), 0, 255).astype(np.uint8)


def blurred(image):
    return cv2.GaussianBlur(image, (0, 0), 3)


def brighter(image):
    return np.clip(image * 1.2 + 20.0, 0, 255).astype(np.uint8)


def to_tensor(image):
    """`(H, W, C)` -> one-channel batch `(C, 1, H, W)`."""
    return torch.from_numpy(np.ascontiguousarray(image)).double().permute(2, 0, 1)[:, None]


def scipy_msssim(x, y, weights=None):
    """The authors' MATLAB code in SciPy: valid 11x11 windows, imfilter with a symmetric border, every other pixel.

    With weights of the pixels, each mean is a weighted one.
    """
    kernel = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))

    def window_mean(z):
        for axis in (0, 1):
            z = ndimage.correlate1d(z, kernel / kernel.sum(), axis)
        return z[5:-5, 5:-5]

    x, y, value = x.astype(float), y.astype(float), 1.0
    weights = np.ones_like(x) if weights is None else weights.astype(float)
    for scale, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
        mean_x, mean_y = window_mean(x), window_mean(y)
        term = 2 * (window_mean(x * y) - mean_x * mean_y) + 58.5225
        term /= window_mean(x**2) - mean_x**2 + window_mean(y**2) - mean_y**2 + 58.5225
        if scale == 4:
            term *= (2 * mean_x * mean_y + 6.5025) / (mean_x**2 + mean_y**2 + 6.5025)
        value *= np.average(term, weights=weights[5:-5, 5:-5]) ** weight
        x, y, weights = (ndimage.uniform_filter(z, 2, mode='reflect', origin=-1)[::2, ::2] for z in (x, y, weights))
    return value


@pytest.mark.parametrize('degrade', [noisy, blurred, brighter])
@pytest.mark.parametrize('size', [(256, 288), (176, 176), (161, 161), (255, 203)])
def test_equals_the_published_code(degrade, size):
    truth = TRUTH[: size[0], : size[1]]
    restored = degrade(truth)
    expected = np.mean([scipy_msssim(restored[..., c], truth[..., c]) for c in range(3)])
    assert calculate_msssim(restored, truth) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize('degrade', [noisy, blurred, brighter])
def test_equals_pytorch_msssim(degrade):
    restored, truth = to_tensor(degrade(TRUTH)), to_tensor(TRUTH)
    expected = pytorch_msssim.ms_ssim(restored, truth, data_range=255).item()
    # its window is float32
    assert calculate_msssim(degrade(TRUTH), TRUTH) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('degrade', [noisy, blurred, brighter])
def test_equals_torchmetrics(degrade):
    restored, truth = to_tensor(degrade(TRUTH)), to_tensor(TRUTH)
    value = calculate_msssim(degrade(TRUTH), TRUTH)
    whole = multiscale_structural_similarity_index_measure(restored, truth, data_range=255.0, reduction='none')
    assert value == pytest.approx(whole.mean().item(), abs=5e-3)

    # At the coarsest scale, torchmetrics includes windows over reflected borders. Without them, the values are equal.
    terms = []
    for scale in range(5):
        _, term = structural_similarity_index_measure(
            restored,
            truth,
            data_range=255.0,
            reduction='none',
            return_full_image=scale == 4,
            return_contrast_sensitivity=scale < 4,
        )
        terms.append(term[..., 5:-5, 5:-5].mean((1, 2, 3)) if scale == 4 else term)
        restored, truth = (torch.nn.functional.avg_pool2d(z, 2) for z in (restored, truth))
    weights = torch.tensor([0.0448, 0.2856, 0.3001, 0.2363, 0.1333], dtype=torch.float64)[:, None]
    assert value == pytest.approx((torch.stack(terms) ** weights).prod(0).mean().item(), abs=1e-6)


@pytest.mark.parametrize('test_y_channel', [False, True])
def test_one_scale_equals_the_hosts_ssim(test_y_channel):
    restored, options = noisy(TRUTH), {'crop_border': 5, 'test_y_channel': test_y_channel}
    assert calculate_msssim(restored, TRUTH, scales=1, **options) == pytest.approx(
        calculate_ssim(restored, TRUTH, **options), abs=1e-10
    )


def test_y_channel():
    expected = scipy_msssim(to_y_channel(noisy(TRUTH))[..., 0], to_y_channel(TRUTH)[..., 0])
    assert calculate_msssim(noisy(TRUTH), TRUTH, test_y_channel=True) == pytest.approx(expected, abs=1e-6)


def test_range():
    assert calculate_msssim(TRUTH, TRUTH) == 1
    assert calculate_msssim(255 - TRUTH, TRUTH) == 0
    assert calculate_msssim(blurred(TRUTH), TRUTH) > calculate_msssim(blurred(blurred(TRUTH)), TRUTH)


@pytest.mark.parametrize(('scales', 'size'), [(5, 161), (4, 81), (3, 41), (2, 21), (1, 11)])
def test_smallest_image(scales, size):
    image = TRUTH[:size, :size]
    assert calculate_msssim(image, image, scales=scales) == 1
    with pytest.raises(ValueError, match=rf'at least {size}x{size} pixels, got {size - 1}x{size}; .*`scales`'):
        calculate_msssim(image[1:], image[1:], scales=scales)


@pytest.mark.parametrize('scales', [0, 6])
def test_scales_out_of_range(scales):
    with pytest.raises(ValueError, match='1 to 5'):
        calculate_msssim(TRUTH, TRUTH, scales=scales)
