"""Guides: for each image, another one of the same person.

Restoring by a guide: Li et al., "Learning Warped Guidance for Blind Face Restoration" (GFRNet), ECCV 2018.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hifacegan_plugin.data.degradations import build_degradation
from hifacegan_plugin.images.sources import ImageSource, ListedNames, read_image, read_lines
from hifacegan_plugin.schema.data import GuideOptions

logger = logging.getLogger('basicsr.hifacegan_plugin')

NAMED_AT_MOST = 5

# Differences between two images of one person: side, pose and expression, light; written as in an options file.
SECOND_VIEW: list[Any] = [
    {'type': 'Sometimes', 'probability': 0.5, 'steps': [{'type': 'Mirror'}]},
    {'type': 'ThinPlateWarp'},
    {
        'type': 'ColourJitter',
        'brightness': [0.8, 1.2],
        'contrast': [0.8, 1.2],
        'saturation': [0.7, 1.3],
        'hue': [-0.02, 0.02],
    },
]


class Guides:
    """Draws a guide for each image of a data set: another image, or a second view of the same one if there is none.

    A list file pairs images with guides. Lines that name unknown images or pair two people are counted and named in the
    log, and their images get second views.

    Args:
        images: the images of the data set; guides are drawn from them, too.
        options: the pattern of a person in image names, the list file, and the recipe of second views.

    Raises:
        FileNotFoundError: the list does not exist.
        ValueError: a line of the list does not name two images; ``view`` is not a recipe.
    """

    def __init__(self, images: Sequence[ImageSource], options: GuideOptions) -> None:
        self.view = build_degradation(SECOND_VIEW if options.view is None else options.view)
        people = [_person(image, options.person) for image in images]
        if options.list_file is None:
            self.others = _others_of_the_same_person(people)
        else:
            self.others = _listed(Path(options.list_file).expanduser(), images, people)
        self.images = images

    def draw(
        self, index: int, truth: np.ndarray, prepare: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
    ) -> np.ndarray:
        """Return a guide of the same size as the ground truth, uint8 (h, w, 3) RGB or (h, w, 1) grey.

        Args:
            index: index of the image.
            truth: its ground truth, as the data set returns it.
            prepare: function that crops, flips and colours an image, uint8 BGR (H, W, 3) of any size, in the same way
                as the ground truth.
            rng: the only source of randomness.
        """
        others = self.others[index]
        if not others:
            return self.view(truth, rng)
        return prepare(read_image(self.images[others[int(rng.integers(len(others)))]]))


def _person(image: ImageSource, pattern: str | None) -> str | None:
    """Return the part of an image's name that identifies the person; None if the pattern does not match."""
    found = re.search(pattern, image.stem) if pattern else None
    return found and (found[1] if found.re.groups else found[0])


def _others_of_the_same_person(people: list[str | None]) -> list[list[int]]:
    """Return the indices of the other images of the person of each image."""
    of_person: defaultdict[str | None, list[int]] = defaultdict(list)
    for index, person in enumerate(people):
        if person is not None:
            of_person[person].append(index)
    return [[other for other in of_person.get(person, []) if other != index] for index, person in enumerate(people)]


def _listed(file: Path, images: Sequence[ImageSource], people: list[str | None]) -> list[list[int]]:
    """Return the indices of the guides that a list has for each image; log what cannot be used."""
    if not file.is_file():
        raise FileNotFoundError(f'guide: list_file: {file} does not exist')
    listed, where = ListedNames(images), f'guide: list_file: {file}'
    others: list[list[int]] = [[] for _ in images]
    unknown, strangers = [], []
    for number, line in enumerate(read_lines(file, 'guide: list_file'), 1):
        names = line.strip().split('\t')
        if names == ['']:
            continue
        if len(names) != 2:
            raise ValueError(f'{where}: line {number} is not the names of two images, with a tab between')
        image, guide = (listed.find(name, where) for name in names)
        if image is None or guide is None:
            unknown.append(names[0] if image is None else names[1])
            continue
        if people[image] == people[guide]:
            others[image].append(guide)
        else:
            strangers.append(f'{names[0]} and {names[1]}')
    for what, lines in (('name images that the data set does not have', unknown), ('pair two people', strangers)):
        if lines:
            more = ', ...' if len(lines) > NAMED_AT_MOST else ''
            logger.warning(
                f'{where}: {len(lines)} lines {what}: {", ".join(lines[:NAMED_AT_MOST])}{more}. They '
                'are ignored; an image without a guide gets a second view of itself.'
            )
    return others
