"""Tests of the command ``hifacegan init``."""

import io
import os
import pty
import shutil
import sys

import pytest
from basicsr.utils.options import yaml_load
from conftest import REPOSITORY
from host_training import logged, run
from PIL import Image
from skimage import data

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.host import starting
from hifacegan_plugin.options_files.own_training import OwnImages, own_training_text
from hifacegan_plugin.schema.problem import Problem


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with four photographs of 128 x 96 pixels; stdin is not a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.stdin', io.StringIO())
    (tmp_path / 'photographs').mkdir()
    for name in ('astronaut', 'chelsea', 'coffee', 'rocket'):
        Image.fromarray(getattr(data, name)()[:96, :128]).save(tmp_path / f'photographs/{name}.png')
    return tmp_path


def written(folder, name='mine'):
    """Return the options that the host reads from the file, and those of training and validation."""
    options = yaml_load(str(folder / f'{name}.yml'))
    return options, options['datasets']['train'], options['datasets']['val']


def test_init_after_lmdb_writes_a_file_that_trains(here, capsys):
    assert main(['lmdb', '-i', 'photographs', '-o', 'photographs.lmdb', '--size', '64', '--jobs', '1']) == 0
    assert main(['init', 'mine', '-i', 'photographs.lmdb', '--degradation', 'noise', '--memory', '0']) == 0
    assert capsys.readouterr().out.endswith('mine.yml is ready. To train:\n  python -m basicsr.train -opt mine.yml\n')
    shorter = (
        'train:total_iter=2 train:scheduler:start_iter=1 train:scheduler:end_iter=2 logger:print_freq=1 '
        'datasets:train:num_worker_per_gpu=0 datasets:train:batch_size_per_gpu=2'
    )
    train = [sys.executable, '-m', 'basicsr.train', '-opt', 'mine.yml', '--force_yml', *shorter.split()]
    assert list(logged(run(train, here))) == [1, 2]
    assert (here / 'experiments/mine/models/net_g_latest.pth').is_file()


def test_training_and_validation_images_are_disjoint(here):
    assert main(['init', 'mine', '-i', 'photographs']) == 0
    _, train, val = written(here)
    lists = [(here / options['meta_info_file']).read_text().split() for options in (train, val)]
    assert sorted(lists[0] + lists[1]) == sorted(path.name for path in (here / 'photographs').iterdir())
    assert len(lists[1]) == 1
    before = lists
    assert main(['init', 'mine', '-i', 'photographs', '--overwrite']) == 0
    assert [(here / options['meta_info_file']).read_text().split() for options in written(here)[1:]] == before


def test_separate_validation_images(here, capsys):
    shutil.copytree(here / 'photographs', here / 'others')
    assert main(['init', 'mine', '-i', 'photographs', '--val', 'others']) == 0
    assert 'trains on 4 images' in capsys.readouterr().out
    _, train, val = written(here)
    assert (train['dataroot_gt'], val['dataroot_gt']) == ('photographs', 'others')
    assert 'meta_info_file' not in train and 'meta_info_file' not in val
    assert not list(here.glob('*split*'))


@pytest.mark.parametrize(
    ('memory', 'side', 'width', 'crop'),
    [(24, 1000, 64, 512), (12, 1000, 48, 512), (8, 1000, 32, 512), (8, 300, 32, 288), (6, 1000, 32, 256)],
)
def test_network_and_crops_depend_on_memory_and_images(memory, side, width, crop, tmp_path):
    images = OwnImages(
        root=tmp_path,
        count=20,
        shorter_side=side,
        training_list=None,
        validation_root=tmp_path,
        validation_list=None,
        largest_validated=1100 * 1000,
    )
    (tmp_path / 'mine.yml').write_text(own_training_text('mine', images, 'noise', memory, 'train'))
    options, train, val = written(tmp_path)
    assert (options['network_g']['num_feat'], options['network_d']['num_feat'], train['gt_size']) == (
        width,
        width,
        crop,
    )
    assert 'perceptual_opt' in options['train'] and 'preset' not in options['network_g']
    assert train['dataset_enlarge_ratio'] * images.count >= 1000
    assert val['resize'] == crop  # 1.1 megapixels would need more memory than training


def test_names_are_quoted_for_yaml(here, monkeypatch):
    monkeypatch.setattr('hifacegan_plugin.commands.doctor.run', lambda arguments: 0)
    for name in ('true', '1e3', 'a # b', 'ключ: "x"', '&a', "it's", '😀'):
        shutil.copytree(here / 'photographs', here / f'{name} of')
        assert main(['init', name, '-i', f'{name} of']) == 0
        options, train, val = written(here, name)
        assert options['name'] == name
        assert train['dataroot_gt'] == val['dataroot_gt'] == f'{name} of'
        assert (here / train['meta_info_file']).is_file()


def test_problems_that_the_doctor_finds_are_reported(here, monkeypatch, capsys):
    monkeypatch.setattr(starting, 'problems_at_start', lambda opt: [Problem('No device.', 'get one')])
    assert main(['init', 'mine', '-i', 'photographs']) == 1
    output = capsys.readouterr().out
    assert 'WRONG: No device.' in output and 'ready' not in output
    assert 'hifacegan doctor -opt mine.yml' in output


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], '-i IMAGES: say which images to train on'),
        (['-i', 'one'], 'one has only one image: give images for validation with --val'),
        (['-i', 'empty'], 'no images in empty'),
        (['-i', 'broken'], 'broken/a.png is not an image'),
        (['-i', 'tiny'], 'the shortest side of an image is 40 pixels, but the network needs at least 64'),
        (['-i', 'photographs', '-o', 'there.yml'], 'there.yml exists already; --overwrite replaces it'),
    ],
)
def test_invalid_arguments_are_reported(arguments, message, here, capsys):
    for folder in ('one', 'empty', 'broken', 'tiny'):
        (here / folder).mkdir()
    shutil.copy(here / 'photographs/coffee.png', here / 'one')
    (here / 'broken/a.png').write_text('text')
    shutil.copy(here / 'photographs/coffee.png', here / 'broken/b.png')
    for name in 'ab':
        Image.fromarray(data.coffee()[:40, :100]).save(here / f'tiny/{name}.png')
    (here / 'there.yml').write_text('of the user')
    before = sorted(here.rglob('*'))
    assert main(['init', 'mine', *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(here.rglob('*')) == before
    assert (here / 'there.yml').read_text() == 'of the user'


def test_the_folder_of_the_file_is_made(here, monkeypatch):
    monkeypatch.setattr('hifacegan_plugin.commands.doctor.run', lambda arguments: 0)
    assert main(['init', 'mine', '-i', 'photographs', '-o', 'new/folder/x.yml']) == 0
    assert sorted(path.name for path in (here / 'new/folder').iterdir()) == ['mine_split', 'x.yml']


@pytest.mark.parametrize('overwrite', [[], ['--overwrite']])
def test_a_folder_with_the_name_of_the_file_is_refused(overwrite, here, capsys):
    (here / 'mine.yml').mkdir()
    assert main(['init', 'mine', '-i', 'photographs', *overwrite]) == 2
    assert capsys.readouterr().err == 'hifacegan init: mine.yml is a folder: name another file with -o\n'
    assert sorted(path.name for path in here.iterdir()) == ['mine.yml', 'photographs']


@pytest.mark.parametrize('argument', ['a/b', '.', '..'])
def test_invalid_names_are_refused(argument, here, capsys):
    with pytest.raises(SystemExit, match='2'):
        main(['init', argument, '-i', 'photographs'])
    assert 'expected a name without "/"' in capsys.readouterr().err


def test_questions_are_repeated_until_the_answer_is_valid(here, monkeypatch, capsys):
    monkeypatch.setattr('hifacegan_plugin.commands.doctor.run', lambda arguments: 0)
    keyboard, terminal = pty.openpty()
    os.write(keyboard, b'nowhere\nphotographs\nnoises\nnoise\nmuch\n8\n')
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr('sys.stdin', stdin)
        assert main(['init', 'mine']) == 0
    os.close(keyboard)
    output = capsys.readouterr().out
    assert "'nowhere': no such folder or LMDB" in output
    assert "'noises': expected one of sr4x" in output
    assert "'much': expected a number of at least 0" in output
    options, train, _ = written(here)
    assert (train['dataroot_gt'], train['degradation'], options['network_g']['num_feat']) == (
        'photographs',
        'noise',
        32,
    )


def test_the_file_is_valid_by_its_json_schema(here):
    assert main(['init', 'mine', '-i', 'photographs']) == 0
    line = (here / 'mine.yml').read_text().splitlines()[1]
    assert line == f'# yaml-language-server: $schema={REPOSITORY}/hifacegan_plugin/schema/training.schema.json'
