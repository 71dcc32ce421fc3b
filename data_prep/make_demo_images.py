"""Write training and test images to two folders: photographs, and synthetic images of dead leaves.

    python data_prep/make_demo_images.py -o datasets/demo

Nothing is downloaded: the photographs come with scikit-image, scikit-learn and matplotlib. They are few and half of
them are grey, so dead leaves add colours for training. For sources and licences of the photographs, see the
documentation of skimage.data and sklearn.datasets. Matplotlib's portrait of Grace Hopper is by the United States Navy
and in the public domain.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from matplotlib.cbook import get_sample_data
from skimage import color, data, io
from sklearn.datasets import load_sample_image
from tqdm import tqdm

from hifacegan_plugin.prepare.shorter_side import resize_shorter_side

TRAIN = (
    'brick',
    'camera',
    'chelsea',
    'china',
    'coins',
    'flower',
    'grace_hopper',
    'grass',
    'gravel',
    'hubble_deep_field',
    'immunohistochemistry',
    'moon',
    'retina',
    'rocket',
    'stereo_motorcycle',
)
TRAIN_SIDE = 512  # limit for the shorter side; otherwise, a quarter of all crops would come from `retina`
HELD_OUT = {  # name: top left corners of the test crops
    'astronaut': ((0, 110), (0, 256), (256, 0), (256, 256)),  # the first one contains the face
    'coffee': ((20, 60), (130, 300)),
}
SIDE = 256
IMAGES_OF_LEAVES = 12  # number of training images of dead leaves
SIDE_OF_LEAVES = 512
LEAVES = 8000  # in an image
RADII = (4, 200)  # pixels
OVERSAMPLING = 2  # images are drawn larger by this factor and averaged, for smooth edges


def load(name: str) -> np.ndarray:
    """Return a photograph as uint8 RGB ``(H, W, 3)``."""
    if name in ('china', 'flower'):
        return load_sample_image(f'{name}.jpg')
    if name == 'grace_hopper':
        return io.imread(get_sample_data('grace_hopper.jpg', asfileobj=False))
    image = getattr(data, name)()
    if name == 'stereo_motorcycle':  # left, right, disparity
        image = image[0]
    return color.gray2rgb(image) if image.ndim == 2 else image[..., :3]


def draw_dead_leaves(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw dead leaves: overlapping ellipses and rectangles of random sizes and colours.

    Their edges, scales and occlusions resemble those of photographs, so they add colours and edges to a small set of
    training photographs. A network trained only on dead leaves draws leaves into its results.

    Sources: Lee, Mumford, Huang, "Occlusion models for natural images", IJCV 2001 (the model; the density of the radius
    is proportional to radius^-3); Achddou, Gousseau, Ladjal, "Synthetic images as a regularity prior for image
    restoration neural networks", SSVM 2021 (training on dead leaves).

    Args:
        side: height and width in pixels.
        rng: generator that determines the image.

    Returns:
        The image, ``(side, side, 3)``, uint8 RGB.
    """
    canvas = np.zeros((OVERSAMPLING * side, OVERSAMPLING * side, 3), np.uint8)
    largest, smallest = (radius**-2.0 for radius in RADII)
    for _ in range(LEAVES):
        radius = (largest - rng.random() * (largest - smallest)) ** -0.5  # density proportional to radius^-3
        sides = 2 * OVERSAMPLING * radius * rng.uniform(0.4, 1, 2)
        place = tuple(rng.uniform(0, OVERSAMPLING * side, 2)), tuple(sides), rng.uniform(0, 180)
        if rng.random() < 0.5:
            cv2.ellipse(canvas, place, draw_colour(rng), cv2.FILLED)
        else:
            cv2.fillConvexPoly(canvas, cv2.boxPoints(place).astype(np.int32), draw_colour(rng))
    return cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)


def draw_colour(rng: np.random.Generator) -> tuple[int, ...]:
    """Return a random RGB colour of uniform hue; greyish colours are more frequent than vivid ones."""
    hsv = [rng.uniform(0, 180), 255 * rng.beta(1.2, 2.5), 255 * rng.beta(1.3, 1.3)]  # in OpenCV's ranges
    return tuple(cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist())


def main() -> None:
    """Write all images as PNG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='FOLDER', help='folder for train/ and heldout/'
    )
    folder = parser.parse_args().output
    for part in ('train', 'heldout'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in TRAIN:
        image = load(name)
        if min(image.shape[:2]) > TRAIN_SIDE:
            image = resize_shorter_side(image, TRAIN_SIDE)
        io.imsave(folder / 'train' / f'{name}.png', image, check_contrast=False)
    for number in tqdm(range(IMAGES_OF_LEAVES), 'dead leaves', unit='image', disable=None):
        image = draw_dead_leaves(SIDE_OF_LEAVES, np.random.default_rng(number))
        io.imsave(folder / 'train' / f'leaves{number + 1:02}.png', image, check_contrast=False)
    for name, corners in HELD_OUT.items():
        for number, (top, left) in enumerate(corners, 1):
            square = load(name)[top : top + SIDE, left : left + SIDE]
            io.imsave(folder / 'heldout' / f'{name}{number}.png', square, check_contrast=False)
    count = len(TRAIN) + IMAGES_OF_LEAVES
    print(f'{folder}: {count} training images, {sum(map(len, HELD_OUT.values()))} test images')


if __name__ == '__main__':
    main()
