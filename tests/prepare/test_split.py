"""Tests of the command ``hifacegan split``."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from commands_in_process import run_command
from conftest import REPOSITORY

split = partial(run_command, 'split')


def touch(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def read(path):
    return path.read_text().splitlines()


def test_ffhq_is_split_as_in_the_paper(tmp_path):
    numbers = [*range(9_990, 10_010), *range(64_995, 65_003), 69_999]
    folder = touch(tmp_path / 'ffhq', [f'{n // 1000 * 1000:05d}/{n:05d}.png' for n in numbers])
    done = split('-i', folder, '-o', tmp_path / 'lists', '--ffhq', status=1)
    assert read(tmp_path / 'lists/train.txt') == [f'09000/{n:05d}.png' for n in range(9_990, 10_000)]
    assert [int(Path(name).stem) for name in read(tmp_path / 'lists/test.txt')] == [65_000, 65_001, 65_002, 69_999]
    assert 'lacks 9990 of the 10000 FFHQ images of train' in done.stderr


def test_parts_are_disjoint_and_have_the_given_shares(tmp_path):
    names = [f'face{i}.png' for i in range(3000)]
    folder = touch(tmp_path / 'faces', names)
    split('-i', folder, '-o', tmp_path / 'lists', '--parts', 'train=0.8', 'val=0.1', 'test=0.1')
    parts = {part: read(tmp_path / f'lists/{part}.txt') for part in ('train', 'val', 'test')}
    assert sorted(name for names in parts.values() for name in names) == sorted(names)
    # Four standard deviations of binomial distributions with n = 3000, p = 0.8 and 0.1.
    assert abs(len(parts['train']) - 2400) < 88
    assert abs(len(parts['val']) - 300) < 66


def test_the_part_of_a_name_does_not_depend_on_other_names(tmp_path):
    few = touch(tmp_path / 'few', [f'{i}.png' for i in range(0, 200, 2)])
    more = touch(tmp_path / 'more', [f'{i}.jpg' for i in range(200)])
    for folder in (few, more):
        split('-i', folder, '-o', tmp_path / f'{folder.name}_lists', '--parts', 'train=0.7', 'test=0.3')
    stems = {
        folder: {Path(name).stem for name in read(tmp_path / f'{folder}_lists/train.txt')} for folder in ('few', 'more')
    }
    assert stems['few'] == {stem for stem in stems['more'] if int(stem) % 2 == 0}


def test_the_seed_changes_the_split(tmp_path):
    folder = touch(tmp_path / 'faces', [f'{i}.png' for i in range(100)])
    for seed in (0, 1):
        split('-i', folder, '-o', tmp_path / str(seed), '--parts', 'a=0.5', 'b=0.5', '--seed', seed)
    assert read(tmp_path / '0/a.txt') != read(tmp_path / '1/a.txt')


def test_existing_lists_are_replaced_only_with_overwrite(tmp_path):
    folder = touch(tmp_path / 'faces', [f'{i}.png' for i in range(40)])
    arguments = ('-i', folder, '-o', tmp_path / 'lists', '--parts', 'a=0.5', 'b=0.5')
    split(*arguments)
    (tmp_path / 'lists/a.txt').write_text('mine\n')
    assert '--overwrite' in split(*arguments, status=2).stderr
    assert read(tmp_path / 'lists/a.txt') == ['mine']
    split(*arguments, '--overwrite')
    assert read(tmp_path / 'lists/a.txt') != ['mine']


@pytest.mark.parametrize(
    ('names', 'arguments', 'message'),
    [
        ([], ['--ffhq'], 'contains no images'),
        (['portrait.png'], ['--ffhq'], 'portrait.png is not the name of an FFHQ image'),
        (['00001.png', 'a/00001.jpg'], ['--ffhq'], 'the same FFHQ image'),
        (['00001.png'], ['--ffhq'], 'no image for the part test'),
        (['00001.png'], ['--parts', 'a=0.5', 'b=0.4'], 'add up to 0.9'),
        (['a.png', 'b\nc.png'], ['--parts', 'a=1'], r"'b\nc.png' has a line break in its name"),
        (['00001.png'], ['--parts', 'a'], 'expected NAME=SHARE'),
    ],
)
def test_invalid_input_is_reported(tmp_path, names, arguments, message):
    folder = tmp_path / 'faces'
    folder.mkdir()
    touch(folder, names)
    assert message in split('-i', folder, '-o', tmp_path / 'lists', *arguments, status=2).stderr
    assert not (tmp_path / 'lists').exists()


def test_missing_folder_is_reported(tmp_path):
    assert 'no such folder' in split('-i', tmp_path / 'nowhere', '-o', tmp_path, '--ffhq', status=2).stderr


def test_the_script_runs_the_command():
    script = [sys.executable, REPOSITORY / 'data_prep/split.py', '--help']
    assert 'hifacegan split -i' in subprocess.run(script, capture_output=True, text=True, check=True).stdout
