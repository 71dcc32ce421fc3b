"""Tests of listing files in folders, and of suffixes of images."""

import io
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from hifacegan_plugin.images.files import SUFFIXES, is_image_name, list_files


@pytest.fixture
def tree(tmp_path):
    for name in ('in/b.png', 'in/a/c.PNG', 'in/a/deep/d.txt', 'in/.hidden/e.png', 'in/.f.png', 'outside/g.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / 'in'


FILES = ['a/c.PNG', 'a/deep/d.txt', 'b.png']


def test_visible_files_at_any_depth(tree):
    assert list_files(tree) == FILES
    assert list_files(str(tree)) == FILES


@pytest.mark.parametrize(
    'links',
    [
        {'self': '.'},
        {'one': '.', 'two': '../in'},
        {'a/up': '..', 'a/deep/top': '../..'},
        {'a/to_in': '../../in', 'alias': 'a'},
    ],
)
def test_links_to_listed_folders_are_ignored(tree, links):
    for name, target in links.items():
        (tree / name).symlink_to(target)
    assert list_files(tree) == FILES


def test_folders_that_link_to_each_other(tree):
    """If only links to parent folders were skipped, the number of paths would be astronomical."""
    places = [tree.parent / f'many/{number}' for number in range(40)]
    for place in places:
        place.mkdir(parents=True)
        (place / 'image.png').touch()
        for number, other in enumerate(places):
            (place / f'to_{number}').symlink_to(other)
    assert list_files(tree.parent / 'many') == sorted(f'{number}/image.png' for number in range(40))
    (tree / 'x').symlink_to(places[0])
    assert len(list_files(tree)) == len(FILES) + 40


def test_other_folders_are_listed_under_their_first_link(tree):
    (tree / 'y').symlink_to(tree.parent / 'outside')
    (tree / 'x').symlink_to(tree.parent / 'outside')
    assert list_files(tree) == [*FILES, 'x/g.png']


def test_broken_links_and_pipes_are_listed(tree):
    (tree / 'nothing.png').symlink_to('gone.png')
    (tree / 'itself.png').symlink_to('itself.png')
    os.mkfifo(tree / 'pipe.png')
    assert list_files(tree) == [*FILES, 'itself.png', 'nothing.png', 'pipe.png']


def test_leave_out(tree):
    assert list_files(tree, leave_out=[tree / 'a']) == ['b.png']
    (tree / 'link').symlink_to('a')
    assert list_files(tree, leave_out=[tree / 'link']) == ['b.png']


def test_unreadable_folders_are_reported(tree, monkeypatch):
    def scan(path, scandir=os.scandir):
        if path == str(tree / 'a'):
            raise PermissionError(13, 'Permission denied', path)
        return scandir(path)

    monkeypatch.setattr('os.scandir', scan)
    errors = []
    assert list_files(tree, errors.append) == ['b.png']
    assert [error.filename for error in errors] == [str(tree / 'a')]
    monkeypatch.undo()
    assert list_files(tree, leave_out=[tree]) == FILES  # the root itself is always listed
    with pytest.raises(FileNotFoundError):
        list_files(tree / 'nowhere')


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_every_suffix_can_be_read_by_opencv_and_pillow(suffix):
    pixels = np.full((32, 32, 3), 200, np.uint8)
    file = io.BytesIO()
    # Windows writes .dib files as BMP; those of Pillow have no file header.
    kind = 'BMP' if suffix == '.dib' else Image.registered_extensions()[suffix]
    image = Image.fromarray(pixels)
    (image.convert('1') if suffix == '.pbm' else image).save(file, kind)
    if kind != 'HEIF':
        assert cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR).shape == pixels.shape
    with Image.open(file) as read:
        assert read.convert('RGB').size == (32, 32)


def test_names_of_images():
    assert all(map(is_image_name, ('a.PNG', 'a.b.jpeg', 'x/y.tif')))
    assert not any(map(is_image_name, ('a.txt', 'png', 'a.png.part', 'a.mp4')))
