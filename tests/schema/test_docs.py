"""Tests of generated files: tables in the docs and JSON Schemas, with an independent validator."""

import json
import math
import re
import sys

import pytest
import yaml
from conftest import REPOSITORY
from jsonschema import Draft202012Validator

import hifacegan_plugin  # noqa: F401  the first line of options files names it
from hifacegan_plugin.schema.comparison import ComparisonFile
from hifacegan_plugin.schema.file import problems_of_file
from hifacegan_plugin.schema.section import find_problems

sys.path.insert(0, str(REPOSITORY / 'docs'))

import make_docs

DEMO = REPOSITORY / 'options/hifacegan_demo.yml'
COMPARISON = REPOSITORY / 'options/compare_demo.yml'
PAGES = sorted((REPOSITORY / 'docs').glob('*.md'))
FILES = sorted((REPOSITORY / 'options').rglob('*.yml'))


def read(file):
    return yaml.load(file.read_text(), Loader=yaml.Loader)


def changed(path, value, file=DEMO):
    """Return the options of a file with one option changed."""
    opt = section = read(file)
    *sections, key = path.split('.')
    for name in sections:
        section = section[name]
    section[key] = value
    return opt


def schema_named_by(file):
    """Return the JSON Schema that an options file names for editors."""
    (named,) = re.findall(r'^# yaml-language-server: \$schema=(\S+)$', file.read_text(), re.M)
    return json.loads((file.parent / named).read_text())


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_the_tables_are_current(page):
    assert page.read_text() == make_docs.with_tables(page.read_text()), 'run `make docs`'


def test_the_schemas_are_current():
    for path, text in make_docs.schemas().items():
        Draft202012Validator.check_schema(json.loads(text))
        assert path.read_text() == text, 'run `make docs`'


def test_a_table_contains_the_values_and_the_default_of_an_option():
    (row,) = [
        row
        for row in make_docs.with_tables((REPOSITORY / 'docs/training.md').read_text()).splitlines()
        if row.startswith('| `ema_decay`')
    ]
    assert row.startswith('| `ema_decay` | a number from 0 to 1 | `0` | decay of the exponential moving average')


@pytest.mark.parametrize('file', FILES, ids=lambda file: f'{file.parent.name}-{file.stem}')
def test_shipped_files_are_valid(file):
    errors = [error.message for error in Draft202012Validator(schema_named_by(file)).iter_errors(read(file))]
    assert errors == []


@pytest.mark.parametrize(
    ('path', 'value'),
    [
        ('train.total_iter', '100,000'),
        ('train.total_iter', 0),
        ('train.ema_decay', '1e-1'),
        ('train.ema_decay', 1.5),
        ('train.amp', 'half'),
        ('train.ema_decya', 0.9),
        ('train.lr_factors', ['blocks']),
        ('train.progressive', 100),
        ('train.loss_weight_schedule', {'gan_opt': [0, 1]}),
        ('train.grad_clip', None),
        ('train.optim_g', {'lr': 1}),
        ('val', 'none'),
        ('val.metrics', ['psnr']),
        ('val.metrics.psnr.better', 'more'),
        ('val.val_freq', 12.5),
        ('datasets.train.gt_size', [64, 64]),
        ('datasets.train.resize', [3]),
        ('datasets.val.dataroot', 'images'),
        ('datasets.val.io_backend', 'lmdb'),
        ('datasets.train.batch_size_per_gpu', 'auto'),
        ('path.resume_state', 5),
        ('logger.wandb', 'mine'),
        ('num_gpu', 'all'),
        ('network_g', {'num_feat': 16}),
        ('name', 5),
    ],
)
def test_validator_and_doctor_reject_the_same_options(path, value):
    opt = changed(path, value)
    assert problems_of_file(opt)
    assert not Draft202012Validator(schema_named_by(DEMO)).is_valid(opt)


@pytest.mark.parametrize(
    ('path', 'value', 'valid'),
    [
        ('network_g', {'type': 'CSRGenerator', 'num_feat': 8}, True),
        ('network_g', {'type': 'CSRGenerator', 'num_fet': 8}, False),
        ('network_g', {'type': 'CSRGenerator', 'num_feat': 'wide'}, False),
        ('network_g', {'type': 'SwinIR', 'embed_dim': 36}, True),
        ('train.scheduler', {'type': 'LinearDecayLR', 'start_iter': 1}, False),
        ('val.metrics.lpips', {'type': 'calculate_lpips', 'net': 'vgg', 'better': 'lower'}, True),
        ('val.metrics.lpips', {'type': 'calculate_lpips', 'nett': 'vgg'}, False),
        ('datasets.val.degradation', 'full', True),
        ('datasets.val.degradation', 'ful', False),
        ('datasets.val.degradation', {'type': 'GaussianNoise', 'sigma': [20, 40]}, True),
        ('datasets.val.degradation', {'type': 'GaussianNoise', 'sigma': -1}, False),
        ('datasets.val.degradation', {'type': 'SincFilter', 'cutoff': math.pi}, True),
        (
            'datasets.val.degradation',
            ['noise', {'type': 'Sometimes', 'steps': [{'type': 'JPEG', 'quality': 0}]}],
            False,
        ),
        ('datasets.val.degradation', [{'type': 'Vignette', 'strength': 1}], True),
    ],
)
def test_registered_names_are_in_the_schema(path, value, valid):
    assert Draft202012Validator(schema_named_by(DEMO)).is_valid(changed(path, value)) == valid


@pytest.mark.parametrize(
    ('path', 'value'),
    [
        ('restorers.input', {'type': 'bicubi'}),
        ('restorers.input', {'type': 'input', 'h': 3}),
        ('restorers.input', {}),
        ('restorers.non-local means.h', 'strong'),
        ('page.quality', 0),
        ('page', 8),
        ('metrics.PSNR', {'crop_border': 0}),
        ('datasets.demo_heldout.type', 3),
        ('datasets.demo_heldout', {'type': 'PairedImageDataset'}),
    ],
)
def test_validator_and_comparison_reject_the_same_options(path, value):
    opt = changed(path, value, COMPARISON)
    validator = Draft202012Validator(schema_named_by(COMPARISON))
    assert find_problems(ComparisonFile, opt)
    assert validator.is_valid(read(COMPARISON)) and not validator.is_valid(opt)
