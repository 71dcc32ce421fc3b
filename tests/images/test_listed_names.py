"""Names in a list, for the images of a folder or an LMDB."""

import numpy as np
import pytest

from hifacegan_plugin.images.lmdb_keys import lmdb_keys
from hifacegan_plugin.images.sources import ImageSource, ListedNames, find_images
from hifacegan_plugin.images.writing import write_png
from hifacegan_plugin.prepare.create_lmdb import Options, create_lmdb
from hifacegan_plugin.prepare.resumable_build import Run


def found(images: list[ImageSource], name: str) -> str | None:
    index = ListedNames(images).find(name, 'list.txt')
    return None if index is None else images[index].name


def in_folder(*names: str) -> list[ImageSource]:
    return [ImageSource('images', name) for name in names]


def in_database(*names: str) -> list[ImageSource]:
    return [ImageSource('images.lmdb', key) for key in lmdb_keys(names).values()]


@pytest.mark.parametrize('order', [1, -1])
def test_the_full_name_of_a_file_comes_before_similar_names(order):
    images = in_folder(*('a.png', 'a.png.jpg', 'b.jpg')[::order])
    assert found(images, 'a.png') == 'a.png'
    assert found(images, 'a.png.jpg') == 'a.png.jpg'
    assert found(images, 'a') == 'a.png'
    assert found(images, 'b') == found(images, 'b.png') == 'b.jpg'
    assert found(in_folder('a.png'), 'a.png.jpg') is None
    assert found(in_folder('v1.png'), 'v1.2') is None


@pytest.mark.parametrize('names', [['a.png', 'a.jpg', 'b.png'], ['x/a 1.v2.jpg', 'x/a 1.png'], ['n' * 250 + '.png']])
def test_names_of_a_folder_find_the_keys_of_its_database(names):
    images = in_database(*names)
    keys = lmdb_keys(names)
    assert [found(images, name) for name in names] == list(keys.values())
    assert [found(images, key) for key in keys.values()] == list(keys.values())
    assert [found(images, f'{key}.png') for key in keys.values()] == list(keys.values())  # as in meta_info.txt


@pytest.mark.parametrize(
    ('images', 'name', 'first', 'second'),
    [
        # From {a.png, a.png.jpg}, a.png has the key a; from {a.png.jpg, a.png, a.gif}, a%2Epng. The keys do not tell.
        (in_database('a.png', 'a.png.jpg'), 'a.png', "key 'a' of images.lmdb", "key 'a%2Epng' of images.lmdb"),
        (in_database('a.png.jpg', 'a.png', 'a.gif'), 'a.png.jpg', "key 'a%2Epng%2Ejpg'", "key 'a%2Epng'"),
        (in_folder('a.png', 'a.jpg'), 'a', 'images/a.png', 'images/a.jpg'),
        (in_folder('a.png.jpg', 'a.gif'), 'a.png', 'images/a.png.jpg', 'images/a.gif'),
        ([*in_folder('a.png'), ImageSource('others', 'a.png')], 'a.png', 'images/a.png', 'others/a.png'),
    ],
)
def test_names_that_may_mean_several_images_are_refused(images, name, first, second):
    with pytest.raises(ValueError, match=r'^list\.txt names ') as refusal:
        found(images, name)
    assert f'names {name!r}, which may be {first}' in str(refusal.value)
    assert f'or {second}' in str(refusal.value)


def test_the_list_of_a_database_names_its_keys(tmp_path):
    names = ['a.png', 'a.png.jpg']
    for name in names:
        write_png(tmp_path / 'in' / name, np.zeros((8, 8, 3), np.uint8))
    create_lmdb(tmp_path / 'in', names, tmp_path / 'x.lmdb', Options(), Run(jobs=1))
    images = find_images(str(tmp_path / 'x.lmdb'), 'lmdb', list_file=str(tmp_path / 'x.lmdb/meta_info.txt'))
    assert [image.name for image in images] == ['a', 'a%2Epng']
