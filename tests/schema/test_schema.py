"""Tests of the schema of options: accepted and rejected values, messages."""

import copy
import subprocess
import sys

import pytest
import yaml
from conftest import REPOSITORY

import hifacegan_plugin  # noqa: F401  the first line of options files names it
from hifacegan_plugin.schema.data import BuiltDegradations
from hifacegan_plugin.schema.file import TrainingFile, kind_of_file, problems_of_file
from hifacegan_plugin.schema.problem import OptionError
from hifacegan_plugin.schema.section import find_problems, parse
from hifacegan_plugin.schema.training import Train

NAMED = {'type': 'X'}
TRAIN = {'total_iter': 100, 'optim_g': NAMED, 'scheduler': NAMED, 'pixel_opt': NAMED}
FILES = [file for file in sorted((REPOSITORY / 'options').rglob('*.yml')) if not file.name.startswith('compare_')]


def read(name):
    return yaml.load((REPOSITORY / 'options' / name).read_text(), Loader=yaml.Loader)


def test_importing_the_schema_imports_neither_torch_nor_the_host():
    code = 'import sys, hifacegan_plugin.schema.file; print({"torch", "basicsr", "mmengine"} & set(sys.modules))'
    ran = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert ran.stdout.strip() == 'set()'


@pytest.mark.parametrize('file', FILES, ids=lambda file: f'{file.parent.name}-{file.stem}')
def test_shipped_files_are_valid(file):
    assert problems_of_file(read(file)) == []


def test_whole_numbers_may_be_written_as_powers_of_ten():
    assert parse(Train, {**TRAIN, 'total_iter': 25e4}).total_iter == 250_000


def test_defaults_of_missing_and_null_options():
    train = parse(Train, {**TRAIN, 'compile': None, 'amp': None})
    assert (train.ema_decay, train.compile, train.amp, train.on_not_finite) == (0, False, None, 'stop')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'total_iter': None}, 'train: total_iter is missing.'),
        ({'total_iter': '1e5'}, 'train: total_iter: YAML reads 1e5 as text, not as a number.'),
        ({'total_iter': 0.5}, 'train: total_iter: give a whole number from 1 up (iterations), not 0.5.'),
        ({'total_iter': True}, 'train: total_iter: give a whole number from 1 up (iterations), not True.'),
        ({'ema_decay': 1.5}, 'train: ema_decay: give a number from 0 to 1, not 1.5.'),
        ({'ema_decay': float('nan')}, 'train: ema_decay: give a number from 0 to 1, not nan.'),
        ({'ema_decay': '0.9'}, "train: ema_decay: give a number from 0 to 1, not '0.9'."),
        ({'grad_clip': None}, 'train: grad_clip: give a number from 0 up, not None.'),
        ({'on_not_finite': 'ignore'}, "train: on_not_finite: give stop or skip, not 'ignore'."),
        ({'grad_clip': float('inf')}, 'train: grad_clip: give a number from 0 up, not inf.'),
        ({'amp': 'half'}, "train: amp: give none, bf16 or fp16, not 'half'."),
        ({'optim_g': 'Adam'}, "train: optim_g has to be a section with options, not 'Adam'."),
        ({'optim_g': {'lr': 1}}, 'train: optim_g: type is missing.'),
        (
            {'lr_factors': [0.1]},
            'train: lr_factors: give numbers from 0 up by name, such as {blocks.6: 0.1}, not [0.1].',
        ),
        (
            {'lr_factors': {'blocks': '1e-1'}},
            "train: lr_factors: give numbers from 0 up by name, such as {blocks.6: 0.1}, not {'blocks': '1e-1'}.",
        ),
        ({1: 0}, 'train: YAML does not read 1 as text, so it is not an option.'),
        ({'optim_g': {**NAMED, True: 0}}, 'train: optim_g: YAML does not read True as text, so it is not an option.'),
        ({'lr_factors': {6: 0.1}}, 'train: lr_factors: YAML does not read 6 as text, so it is not a name.'),
        ({'pixel_opt': None}, 'train: set at least one of pixel_opt, perceptual_opt and gan_opt.'),
        ({'gan_opt': NAMED}, 'train: gan_opt trains a discriminator: add optim_d.'),
        (
            {'loss_weight_schedule': {'pixel': [[1, 0]]}},
            'train: loss_weight_schedule: pixel is not a loss of this training. '
            "Did you mean 'pixel_opt'? The losses are: pixel_opt.",
        ),
        *(
            (
                {'loss_weight_schedule': {'pixel_opt': points}},
                'train: loss_weight_schedule: give points [iteration, factor] with increasing iterations by the name '
                f"of a loss, such as {{gan_opt: [[10000, 0], [20000, 1]]}}, not {{'pixel_opt': {points}}}.",
            )
            for points in ([], [[5, 0], [5, 1]], [0, 1])
        ),
        (
            {'compile': True, 'gradient_checkpointing': True},
            'train: compile and gradient_checkpointing do not work together: choose one.',
        ),
    ],
)
def test_the_first_problem_is_raised(change, message):
    with pytest.raises(OptionError) as raised:
        parse(Train, {**TRAIN, **change}, 'train')
    assert str(raised.value) == message


def test_unknown_options_under_train_are_only_warned_about():
    options = {**TRAIN, 'ema_decya': 0.9}
    (problem,) = find_problems(Train, options, 'train')
    assert not problem.stops and problem.what.startswith("train: unknown option 'ema_decya'. Did you mean 'ema_decay'?")
    assert parse(Train, options).ema_decay == 0


def test_unknown_options_do_not_hide_contradictions():
    opt = read('hifacegan_demo.yml')
    opt['train'].update(gan=opt['train'].pop('gan_opt'), keep_best='lpips')
    first, second = problems_of_file(opt)
    assert first.what.startswith("train: unknown option 'gan'") and not first.stops
    assert second.what.startswith('train: feature_matching_opt needs gan_opt')
    with pytest.raises(OptionError, match='feature_matching_opt needs gan_opt'):
        parse(Train, opt['train'], 'train')


def test_all_problems_of_a_file_are_reported():
    opt = read('hifacegan_demo.yml')
    good = copy.deepcopy(opt)
    opt['train'].update(total_iter=0, amp='half', progressive=[3, 2])
    opt['datasets']['train']['gt_size'] = '64'
    opt['datasets']['val']['io_backend']['type'] = 'lmbd'
    opt['path']['strict_load_g'] = 'no'
    del opt['logger']['print_freq']
    problems = problems_of_file(opt)
    assert {problem.what.partition(': give')[0].partition(' is missing')[0] for problem in problems} == {
        'datasets: train: gt_size',
        'datasets: val: io_backend: type',
        'path: strict_load_g',
        'train: total_iter',
        'train: amp',
        'train: progressive',
        'logger: print_freq',
    }
    assert len(problems) == 7
    assert kind_of_file(good) is TrainingFile and problems_of_file(good) == []


DATASETS = read('hifacegan_demo.yml')['datasets']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        *(({'name': name}, 'name: give the name of a folder, without "/"') for name in ('face/v1', '/face', '..', '')),
        ({'network_d': None}, 'train: gan_opt needs a discriminator'),
        ({'datasets': {**DATASETS, 'val': {**DATASETS['val'], 'name': None}}}, 'datasets: val: name is missing'),
        (
            {'datasets': {**DATASETS, 'val_2': DATASETS['val']}},
            'datasets: val_2: val has the same name, demo_heldout',
        ),
        ({'network_g': {'type': 'CSRGenerator', 'num_in_ch': 1}}, 'set network_d: num_in_ch: 1 and num_out_ch: 1'),
    ],
)
def test_contradictions_between_sections_are_reported(change, message):
    (problem,) = problems_of_file(read('hifacegan_demo.yml') | change)
    assert message in problem.what


def test_numbers_written_as_text_are_reported_except_in_names():
    opt = read('hifacegan_demo.yml') | {'name': '1e3', 'model_type': 'SRModel'}
    opt['datasets']['train']['dataroot_gt'] = '1e3'
    opt['train']['optim_g']['lr'] = opt['network_g']['num_feat'] = '1e-4'
    assert [problem.what for problem in problems_of_file(opt)] == [
        f'{option}: YAML reads 1e-4 as text, not as a number.'
        for option in ('network_g: num_feat', 'train: optim_g: lr')
    ]


def test_other_models_may_have_other_options():
    opt = read('hifacegan_demo.yml') | {'model_type': 'GFPGANModel', 'network_l': {'type': 'X'}}
    opt['train'].update(net_g_reg_every=1, amp={'any': 'thing'})
    assert problems_of_file(opt) == []


def test_other_data_sets_may_have_other_options():
    opt = read('hifacegan_demo.yml')
    opt['datasets']['train'].update(type='FFHQDataset', mean=[0.5], degradation=None)
    assert problems_of_file(opt) == []


def test_a_data_set_is_parsed_with_its_phase():
    options = {'dataroot_gt': 'images', 'degradation': 'full', 'gt_size': 64}
    with pytest.raises(OptionError, match='phase is missing'):
        parse(BuiltDegradations, options)
    with pytest.raises(OptionError, match=r'gt_size is only for training\. Phase val returns whole images'):
        parse(BuiltDegradations, {**options, 'phase': 'val'})
    assert parse(BuiltDegradations, {**options, 'phase': 'train'}).gt_size == 64
