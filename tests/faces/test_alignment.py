import math

import cv2
import numpy as np
import pytest

from hifacegan_plugin.faces.alignment import Square, apply, cut, ffhq_square, share_inside, to_image

EYES, MOUTH = np.array([[-1.0, 0.0], [1.0, 0.0]]), np.array([[-0.8, 2.0], [0.8, 2.0]])


def similarity(angle, scale, shift):
    cos, sin = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


class TestSquare:
    @pytest.mark.parametrize(('depth', 'side'), [(2.0, 8.0), (3.0, 10.8)])  # 4 x 2 or 3.6 times the depth
    def test_upright_face(self, depth, side):
        square = ffhq_square(EYES, np.array([[-0.8, depth], [0.8, depth]]))
        assert square.side == pytest.approx(side)
        assert square.roll == 0
        np.testing.assert_allclose(square.centre, [0, 0.1 * depth])
        np.testing.assert_allclose(
            square.corners - square.centre, side / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        )

    @pytest.mark.parametrize('angle', [-170, -30, 10, 90])
    def test_rotated_face(self, angle):
        transform = similarity(angle, 37, (400, 300))
        square = ffhq_square(apply(transform, EYES), apply(transform, MOUTH))
        assert square.roll == pytest.approx(angle)
        assert square.side == pytest.approx(37 * 8)
        np.testing.assert_allclose(square.corners, apply(transform, ffhq_square(EYES, MOUTH).corners))


class TestCut:
    SQUARE = Square(np.array([49.5, 39.5]), np.array([16.0, 0.0]))

    @pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
    @pytest.mark.parametrize('channels', [(), (3,)])
    def test_upright_square_is_a_slice(self, dtype, channels):
        image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (80, 100, *channels), dtype, True)
        np.testing.assert_array_equal(cut(image, self.SQUARE, 32), image[24:56, 34:66])

    def test_downsizing_takes_area_means(self):
        image = np.random.default_rng(0).integers(0, 256, (80, 100), np.uint8)
        means = image[24:56, 34:66].reshape(8, 4, 8, 4).mean((1, 3))
        assert np.abs(cut(image, self.SQUARE, 8) - means).max() <= 0.5

    @pytest.mark.parametrize('angle', [-33, 0, 90, 141])
    @pytest.mark.parametrize('side', [20, 50, 150])
    def test_cut_is_consistent_with_to_image(self, angle, side):
        """The values of the image are linear in the coordinates, so the crop shows where its pixels come from."""
        y, x = np.mgrid[:200, :300].astype(np.float64)
        image = np.round(100 * x + 70 * y).astype(np.uint16)
        square = Square(np.array([141.3, 97.8]), similarity(angle, 1, (0, 0))[:, 0] * 38)
        crop = cut(image, square, side)
        v, u = np.mgrid[:side, :side]
        there = apply(to_image(square, side), np.stack([u, v], -1).reshape(-1, 2))
        np.testing.assert_allclose(crop.ravel(), there @ [100, 70], atol=10)  # OpenCV samples at 1/32 of a pixel
        np.testing.assert_allclose(
            apply(cv2.invertAffineTransform(to_image(square, side)), there),
            np.stack([u, v], -1).reshape(-1, 2),
            atol=1e-9,
        )

    def test_corners_of_crop_and_square(self):
        square = ffhq_square(apply(similarity(20, 30, (9, 8)), EYES), apply(similarity(20, 30, (9, 8)), MOUTH))
        ends = np.array([[-0.5, -0.5], [63.5, -0.5], [63.5, 63.5], [-0.5, 63.5]])
        np.testing.assert_allclose(apply(to_image(square, 64), ends), square.corners)

    def test_reflection_beyond_the_border(self):
        image = np.random.default_rng(0).integers(0, 256, (60, 70, 3), np.uint8)
        padded = cv2.copyMakeBorder(image, 30, 30, 30, 30, cv2.BORDER_REFLECT_101)
        for x, y in ((2.5, 3.5), (66.5, 3.5), (66.5, 58.5), (2.5, 58.5)):
            crop = cut(image, Square(np.array([x, y]), np.array([20.0, 0.0])), 40)
            left, top = int(x - 19.5) + 30, int(y - 19.5) + 30
            np.testing.assert_array_equal(crop, padded[top : top + 40, left : left + 40])

    def test_images_too_long_for_opencvs_warp(self):
        image = np.zeros((40, 40_000), np.uint8)
        image[:, 39_000:] = 200
        assert cut(image, Square(np.array([39_500.0, 20.0]), np.array([8.0, 0.0])), 16).min() == 200


def test_share_inside():
    def share(x, y):
        return share_inside(Square(np.array([x, y]), np.array([20.0, 0.0])), 100, 80)

    assert share(49.5, 39.5) == 1
    assert share(-0.5, 39.5) == pytest.approx(0.5)
    assert share(99.5, 79.5) == pytest.approx(0.25)
    assert share(-60, 0) == 0
