"""Tests of comparisons: values, restorers, invalid options, errors, resuming."""

import csv
import json
import math
import mmap
import multiprocessing
import os
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.metrics import calculate_psnr
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from basicsr.utils.options import yaml_load
from conftest import REPOSITORY
from held_lock import holder
from skimage import data
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.archs import CSRGenerator
from hifacegan_plugin.compare import intervals, methods, tables, worker
from hifacegan_plugin.compare.comparison import read_comparison
from hifacegan_plugin.compare.folder import Folder, open_log, read_json, read_log
from hifacegan_plugin.compare.image_sets import open_test_set, write_test_set
from hifacegan_plugin.compare.intervals import bootstrap_interval
from hifacegan_plugin.compare.job import Job
from hifacegan_plugin.compare.results import Figure, Row, best_rows, make_row
from hifacegan_plugin.compare.server import start_server
from hifacegan_plugin.images.sources import read_rgb
from hifacegan_plugin.images.writing import write_png
from hifacegan_plugin.metrics.building import build_metric
from hifacegan_plugin.weights.packaged import PACKAGED

PSNR = {'type': 'calculate_psnr', 'crop_border': 0}
HIGHER, LOWER = ({'type': 'calculate_ssim', 'crop_border': 0}, {'type': 'calculate_lpips'})
PAIRED = {'type': 'PairedImageDataset', 'dataroot_gt': '.', 'dataroot_lq': '.'}
PLUGIN_LINE = 'plugin: !!python/name:hifacegan_plugin.__version__'


@pytest.fixture
def pairs(tmp_path):
    """Two folders with pairs: one is damaged, one has the wrong size, and in each folder one has no partner."""
    coffee = cv2.cvtColor(data.coffee(), cv2.COLOR_RGB2BGR)
    rng = np.random.default_rng(0)
    for side in ('gt', 'lq'):
        (tmp_path / side).mkdir()
    for i, name in enumerate(['first', 'second', 'damaged', 'smaller', 'no_lq']):
        truth = coffee[60 * i : 60 * i + 70, 200:290]
        degraded = (truth + rng.normal(0, 20, truth.shape)).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / 'gt' / f'{name}.png'), truth)
        cv2.imwrite(str(tmp_path / 'lq' / f'{name}.png'), degraded[:60] if name == 'smaller' else degraded)
    (tmp_path / 'lq/damaged.png').write_bytes((tmp_path / 'gt/damaged.png').read_bytes()[:2000])
    (tmp_path / 'lq/no_lq.png').rename(tmp_path / 'lq/no_gt.png')
    cv2.imwrite(str(tmp_path / 'lq/another.png'), coffee[:70, :90])
    return {
        'type': 'PairedImageDataset',
        'dataroot_gt': str(tmp_path / 'gt'),
        'dataroot_lq': str(tmp_path / 'lq'),
        'io_backend': {'type': 'disk'},
    }


def write_options(folder, datasets, restorers, metrics=None, **others):
    options = {'name': 'test', 'datasets': datasets, 'restorers': restorers, 'metrics': metrics or {'PSNR': PSNR}}
    file = folder / 'compare.yml'
    file.write_text(f'{PLUGIN_LINE}\n' + yaml.safe_dump({**options, **others}, sort_keys=False))
    return file


def rows_of(folder, test_set=0):
    report = json.loads((folder / 'comparison.json').read_text())
    return {row['label']: row for row in report['test_sets'][test_set]['rows']}, report['problems']


# --------------------------------------------------------------------------------------------- the whole command


def test_a_comparison_with_many_problems(tmp_path, pairs, small_lmdb, capsys):
    torch.manual_seed(0)
    edsr = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 2}
    weights = build_network(edsr).state_dict()
    torch.save({'params': {f'module.{key}': value for key, value in weights.items()}}, tmp_path / 'edsr.pth')
    generator = CSRGenerator(num_feat=4, norm='rms', global_residual=True)  # untrained: nearly returns its input
    described = {'type': 'CSRGenerator', 'num_feat': 4, 'norm': 'rms', 'global_residual': True}
    torch.save({'params': generator.state_dict(), 'network_g': described}, tmp_path / 'csr.pth')
    degraded = {
        'type': 'DegradationDataset',
        'dataroot_gt': str(small_lmdb),
        'io_backend': {'type': 'lmdb'},
        'degradation': 'noise',
        'resize': [64, 64],
    }
    file = write_options(
        tmp_path,
        {'pairs': pairs, 'degraded': degraded},
        {
            'input': {'type': 'input'},
            'missing weights': {'network_g': edsr, 'pretrain_network_g': str(tmp_path / 'missing.pth')},
            'EDSR x2': {'network_g': edsr, 'pretrain_network_g': str(tmp_path / 'edsr.pth'), 'scale': 2},
            'CSR': {'pretrain_network_g': str(tmp_path / 'csr.pth')},
        },
        {'PSNR': PSNR, 'unheard of': {'type': 'calculate_fame'}, 'NIQE': {'type': 'calculate_niqe', 'crop_border': 0}},
    )
    out = tmp_path / 'out'

    assert main(['compare', '-opt', str(file), '-o', str(out)]) == 1  # some images or restorers failed

    rows, problems = rows_of(out)
    assert [row['restored'] for row in rows.values()] == [2, 0, 2, 2]
    for left_out in (
        '6 degraded and 5 true',
        'another.png',
        'damaged.png',
        'smaller.png',
        '90x60',
        'no_lq.png',
        'no_gt.png',
        'missing.pth',
        'calculate_fame',
        'pairs: input: NIQE has no value for 2 of 2 images: first, second (',
    ):  # needs 96 pixels
        assert any(left_out in problem for problem in problems), left_out
    assert rows['missing weights']['error'] and rows['missing weights']['figures'] == {}

    assert all(list(row['figures']) in (['PSNR'], []) for row in rows.values())

    # The values equal those of the host's metric on the files of the data set.
    psnr = [
        calculate_psnr(
            cv2.imread(f'{pairs["dataroot_lq"]}/{name}.png'), cv2.imread(f'{pairs["dataroot_gt"]}/{name}.png'), 0
        )
        for name in ('first', 'second')
    ]
    assert rows['input']['figures']['PSNR']['mean'] == pytest.approx(np.mean(psnr))
    assert rows['input']['values']['PSNR'] == pytest.approx(dict(zip(['first', 'second'], psnr)))
    # A checkpoint of the plugin contains the options of its network; this one nearly returns its input.
    assert rows['CSR']['figures']['PSNR']['mean'] == pytest.approx(np.mean(psnr), abs=0.01)
    assert rows['CSR']['parameters'] == sum(parameter.numel() for parameter in generator.parameters())
    assert rows['CSR']['gflop_input'] == [70, 90] and rows['EDSR x2']['gflop_input'] == [35, 45]
    assert rows['CSR']['milliseconds'] > 0 and rows['CSR']['peak_mib'] > rows['input']['peak_mib']

    assert rows_of(out, 1)[0]['CSR']['restored'] == 6
    table = list(csv.DictReader((out / 'comparison.csv').open()))
    assert [(line['test_set'], line['restorer']) for line in table] == [
        (test_set, label) for test_set in ('pairs', 'degraded') for label in rows
    ]
    assert float(table[0]['PSNR_mean']) == rows['input']['figures']['PSNR']['mean']
    assert table[0]['NIQE_mean'] == ''
    markdown, printed = (out / 'comparison.md').read_text(), capsys.readouterr().out
    for line in markdown.splitlines():
        assert line in printed or not line.startswith('|')
    assert '| missing weights |    0/2 |' in markdown
    assert (out / 'comparison.html').stat().st_size > 10_000

    # On resuming, only restorers that changed or failed are run again.
    restored = out / 'images/pairs/CSR/first.png'
    before = restored.stat().st_mtime_ns
    shutil.copy(tmp_path / 'edsr.pth', tmp_path / 'missing.pth')
    (out / 'images/pairs/EDSR x2/second.png').unlink()
    assert main(['compare', '-opt', str(file), '-o', str(out), '--resume']) == 1
    again, problems = rows_of(out)
    assert restored.stat().st_mtime_ns == before
    assert again['CSR'] == rows['CSR']
    assert again['EDSR x2']['figures'] == rows['EDSR x2']['figures']
    assert 'does not match scale: 1' in ' '.join(problems)  # enlarges images of full size, without the option scale


def test_nan_and_crashes_are_reported_and_do_not_stop_the_comparison(tmp_path, small_lmdb):
    dataset = {
        'type': 'DegradationDataset',
        'dataroot_gt': str(small_lmdb),
        'io_backend': {'type': 'lmdb'},
        'degradation': [{'type': 'JPEG', 'quality': 50}],
    }
    rcan = {
        'type': 'RCAN',
        'num_in_ch': 3,
        'num_out_ch': 3,
        'num_feat': 16,
        'num_group': 1,
        'num_block': 1,
        'upscale': 1,
        'img_range': 1e-50,
    }  # divides by zero in single precision
    huge = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 1_000_000, 'num_block': 1, 'upscale': 1}
    file = write_options(
        tmp_path,
        {'set': dataset},
        {'NaN': {'network_g': rcan}, 'huge': {'network_g': huge}, 'input': {'type': 'input'}},
    )
    assert main(['compare', '-opt', str(file), '-o', str(tmp_path / 'out')]) == 1
    rows, problems = rows_of(tmp_path / 'out')
    assert [row['restored'] for row in rows.values()] == [0, 0, 6]
    assert sum('NaN or infinite' in problem for problem in problems) == 6 and 'huge' in problems[-1]
    assert rows['huge']['error'] and rows['NaN']['parameters'] > 0


def test_grey_networks_refuse_colour_images(tmp_path, small_lmdb):
    torch.manual_seed(0)
    generator = CSRGenerator(num_in_ch=1, num_feat=4, norm='rms', global_residual=True)  # untrained: close to identity
    described = {'type': 'CSRGenerator', 'num_in_ch': 1, 'num_feat': 4, 'norm': 'rms', 'global_residual': True}
    torch.save({'params': generator.state_dict(), 'network_g': described}, tmp_path / 'grey.pth')
    colours = {**degraded_set(small_lmdb), 'io_backend': {'type': 'lmdb'}}
    file = write_options(
        tmp_path,
        {'grey': {**colours, 'color': 'grey'}, 'colours': colours},
        {'input': {'type': 'input'}, 'net': {'network_g': described, 'pretrain_network_g': str(tmp_path / 'grey.pth')}},
    )
    assert main(['compare', '-opt', str(file), '-o', str(tmp_path / 'out')]) == 1
    (of_grey, problems), (of_colours, _) = (rows_of(tmp_path / 'out', number) for number in (0, 1))
    assert of_grey['net']['restored'] == 6 and of_colours['net']['restored'] == 0
    figures = [of_grey[label]['figures']['PSNR']['mean'] for label in ('input', 'net')]
    assert figures[0] == pytest.approx(figures[1], abs=0.01)
    assert len(problems) == 6 and all('takes grey images, and this one is in colour' in line for line in problems)


def test_a_metric_without_weights_is_left_out(tmp_path, small_lmdb, monkeypatch, capsys):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    metrics = {'PSNR': PSNR, 'LPIPS': {'type': 'calculate_lpips'}}
    datasets = {'set': {**degraded_set(small_lmdb), 'io_backend': {'type': 'lmdb'}}}
    file = write_options(tmp_path, datasets, {'input': {'type': 'input'}}, metrics)
    assert main(['compare', '-opt', str(file), '-o', str(tmp_path / 'out')]) == 0
    rows, (left_out,) = rows_of(tmp_path / 'out')
    assert list(rows['input']['figures']) == ['PSNR'] and left_out.startswith('metrics: LPIPS: ')
    assert left_out in capsys.readouterr().out


def test_a_process_that_is_killed_is_reported(tmp_path):
    folder = Folder(tmp_path)
    for which in ('degraded', 'truth'):
        write_png(folder.image('set', which, 'x'), data.astronaut())
    job = Job('slow', {'type': 'fast_nl_means', 'search': 201}, folder, {'set': ['x']}, {'set': {}})
    with ThreadPoolExecutor() as pool:
        summary = pool.submit(worker.run_job, start_server(), job)
        while not (log := folder.log('set', 'slow', 'restored')).exists():  # until it has started
            time.sleep(0.05)
            assert not summary.done()
        (process,) = multiprocessing.active_children()
        os.kill(process.pid, signal.SIGKILL)
        assert 'SIGKILL' in summary.result()['error']
    assert read_log(log, {}) == []


def test_images_of_an_earlier_network_are_deleted(tmp_path):
    folder = Folder(tmp_path)
    for test_set in ('changed', 'same'):
        with open_log(folder.log(test_set, 'net', 'restored'), {'weights': 'a'}, []) as append:
            append({'name': 'x', 'milliseconds': 1.0})
        write_png(folder.image(test_set, 'net', 'x'), data.astronaut())
    weights = {'pretrain_network_g': str(tmp_path / 'missing.pth')}
    images, made_from = {'changed': ['x'], 'same': ['x']}, {'changed': {'weights': 'b'}, 'same': {'weights': 'a'}}
    worker.restore(Job('net', weights, folder, images, made_from))
    assert 'missing.pth' in read_json(folder.summary('net'))['error']
    assert [folder.image(test_set, 'net', 'x').exists() for test_set in images] == [False, True]


def test_costs_include_images_of_earlier_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, 'keep_freed_memory', lambda: None)  # it would affect later tests
    peaks = iter([70 << 20, 20 << 20, 30 << 20])  # large, small; small in the second run
    monkeypatch.setattr(worker, '_memory', lambda: 0)
    monkeypatch.setattr(worker, '_peak_memory', lambda: next(peaks))
    folder, sizes = Folder(tmp_path), {'tiny': (48, 48), 'large': (192, 256), 'small': (64, 96)}
    for name, (height, width) in sizes.items():
        for which in ('degraded', 'truth'):
            write_png(folder.image('set', which, name), data.astronaut()[:height, :width])
    generator = {'type': 'CSRGenerator', 'num_feat': 4, 'norm': 'rms'}  # needs at least 64 x 64 pixels
    job = Job('CSR', {'network_g': generator}, folder, {'set': list(sizes)}, {'set': {}})

    def row():
        worker.restore(job)
        records = read_log(folder.log('set', 'CSR', 'restored'), {})
        return make_row('CSR', [], list(sizes), records, read_json(folder.summary('CSR')))

    first = row()
    assert (first.restored, first.error, first.gflop_input) == (2, None, [192, 256])
    assert first.parameters == sum(p.numel() for p in build_network(generator).parameters())
    folder.image('set', 'CSR', 'small').unlink()
    assert (first.peak_mib, row().peak_mib, next(peaks, None)) == (70, 70, None)


def test_descriptions_of_ended_processes():
    assert 'SIGKILL' in worker.describe_end(-9) and 'memory' in worker.describe_end(-9)
    assert 'SIGSEGV' in worker.describe_end(-11) and 'memory' not in worker.describe_end(-11)
    assert '3' in worker.describe_end(3)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'restorers': {'a': {'type': 'bicubi'}}},
            'restorers: a: type: give input, bicubic, fast_nl_means, spandrel or folder',
        ),
        ({'restorers': {'a': {'type': 'input', 'h': 3}}}, "unknown option 'h'"),
        ({'restorers': {'a': {'scale': 2}}}, 'network_g'),
        ({'restorers': {'a': {'network_g': {'type': 'EDSR'}, 'scale': 0}}}, 'restorers: a: scale: give a whole number'),
        ({'restorers': {'a': {'type': 'spandrel'}}}, 'restorers: a: pretrain_network_g is missing'),
        *(
            ({section: {'a': {**options, 'filename_tmpl': template}}}, 'filename_tmpl: give text with one {}')
            for section, options in (('restorers', {'type': 'folder', 'dataroot': 'x'}), ('datasets', PAIRED))
            for template in ('y', '{}_{}', '{name}', '{')
        ),
        ({'restorers': {False: {'type': 'input'}}}, 'restorers: YAML does not read False as text'),
        ({'name': True}, 'name: give a name, not True'),
        ({'name': 'a/b'}, "name: 'a/b' cannot be the name of a folder"),
        ({'name': ''}, "name: '' cannot be the name of a folder"),
        ({'against': 'another'}, 'against: another is not one of the restorers: input'),
        ({'restorers': {'a/b': {'type': 'input'}}}, 'folder'),
        ({'restorers': {'truth': {'type': 'input'}}}, "restorers: 'truth' cannot be"),
        ({'restorers': {}}, 'restorers'),
        ({'datasets': {'a': {'dataroot_gt': 'x'}}}, 'type is missing'),
        (
            {'datasets': {'a': {'type': 'DegradationDataset', 'dataroot_gt': 'nowhere', 'degradation': 'noise'}}},
            'nowhere',
        ),
        ({'datasets': {'a': {'type': 'NoSuchDataset'}}}, 'NoSuchDataset'),
        (
            {'datasets': {'a': {'type': 'SingleImageDataset', 'io_backend': {'type': 'disk'}}}},
            'datasets: a: SingleImageDataset needs dataroot_lq',
        ),
        ({'metrics': {'a': {'better': 'lower'}}}, 'type is missing'),
        ({'metrics': {'a': {'type': 'calculate_fed', 'better': 'higher'}}}, 'lower is better'),
        ({'metrics': {'a': {'type': 'calculate_fame', 'better': 'High'}}}, "not 'High'"),
        ({'page': {'images': 'all'}}, 'images'),
        ({'page': 8}, 'page has to be a section'),
        ({'restorers': {'a': {'pretrain_network_g': ['a', 'b']}}}, 'restorers: a: pretrain_network_g: give a path'),
        ({'restorers': {'a': {'type': ['input']}}}, 'restorers: a: type: give input'),
        ({'restorers': {'a': {'type': 'fast_nl_means', 'h': 'strong'}}}, 'restorers: a: h: give a number'),
        ({'metrics': {'a': {'type': ['calculate_psnr']}}}, 'metrics: a: type: give the name'),
        (
            {
                'datasets': {
                    2024: {'type': 'PairedImageDataset', 'dataroot_gt': '.', 'dataroot_lq': '.', 'io_backend': 'disk'}
                }
            },
            'datasets: 2024: io_backend has to be a section',
        ),
        ({'datasets': {'a': {'type': 'PairedImageDataset', 'dataroot_gt': 3}}}, 'dataroot_gt: give a path'),
        ({'datasets': {'a': {**PAIRED, 'dataroot_lq': [3]}}}, 'datasets: a: dataroot_lq: give a path'),
        ({'datasets': {'a': {**PAIRED, 'color': 'y'}}}, "datasets: a: unknown option 'color'"),
        ({'datasets': {'a': {**PAIRED, 'scale': '2'}}}, 'datasets: a: scale: give a whole number'),
        ({'dataset': {}}, "Did you mean 'datasets'"),
    ],
)
def test_invalid_options_are_reported(change, message, tmp_path, small_lmdb, capsys):
    dataset = {
        'type': 'DegradationDataset',
        'dataroot_gt': str(small_lmdb),
        'io_backend': {'type': 'lmdb'},
        'degradation': 'noise',
    }
    options = {'datasets': {'set': dataset}, 'restorers': {'input': {'type': 'input'}}, 'metrics': {'PSNR': PSNR}}
    file = write_options(tmp_path, **{**options, **change})
    assert main(['compare', '-opt', str(file), '-o', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert message in error and 'Traceback' not in error


def degraded_set(folder):
    return {'type': 'DegradationDataset', 'dataroot_gt': str(folder), 'degradation': 'noise'}


def test_names_of_images_are_unique(tmp_path):
    sources = ['x/a', 'x/a_2', 'y/a', 'y/a_2', 'y/b']
    for i, name in enumerate(sources):
        (tmp_path / 'src' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'src' / f'{name}.png'), data.coffee()[60 * i : 60 * i + 70, 200:290])
    folder = Folder(tmp_path / 'out')
    written = write_test_set(open_test_set('set', degraded_set(tmp_path / 'src')), folder)
    assert len(set(written.images)) == len(sources) and {'a', 'a_2', 'b'} <= set(written.images)
    for name, source in zip(written.images, sources):
        expected = cv2.imread(str(tmp_path / 'src' / f'{source}.png'))[..., ::-1]
        assert np.array_equal(folder.read_image('set', 'truth', name), expected)


def test_resuming_with_other_data_starts_over(tmp_path):
    source, out = tmp_path / 'src', tmp_path / 'out'
    source.mkdir()
    for i, name in enumerate('abc'):
        cv2.imwrite(str(source / f'{name}.png'), data.coffee()[60 * i : 60 * i + 70, 200:290])
    whole = (source / 'c.png').read_bytes()
    (source / 'c.png').write_bytes(whole[:2000])
    file = write_options(tmp_path, {'set': degraded_set(source)}, {'input': {'type': 'input'}})

    def resume():
        status = main(['compare', '-opt', str(file), '-o', str(out), '--resume'])
        return status, rows_of(out)[0]['input']['values']['PSNR'], len(rows_of(out)[1])

    status, figures, left_out = resume()
    assert (status, list(figures), left_out) == (1, ['a', 'b'], 1)
    (source / 'c.png').write_bytes(whole)
    status, mended, left_out = resume()
    assert (status, list(mended), left_out) == (0, ['a', 'b', 'c'], 0)
    assert {name: mended[name] for name in figures} == figures

    shutil.copy(source / 'b.png', source / 'a.png')
    status, changed, _ = resume()
    truth = read_rgb(out / 'images/set/truth/a.png')
    assert np.array_equal(truth, read_rgb(source / 'b.png'))
    restored = read_rgb(out / 'images/set/input/a.png')
    assert changed['a'] == pytest.approx(calculate_psnr(restored[..., ::-1], truth[..., ::-1], 0)) != mended['a']

    written = Folder(out).test_set('set')  # by a version that used other names for these images
    written.write_text(written.read_text().replace('"images"', '"photographs"'))
    assert resume() == (0, changed, 0)


@pytest.mark.parametrize('backend', ['disk', 'lmdb'])
def test_a_list_selects_pairs_and_must_exist(tmp_path, backend, capsys):
    """Values are those of the listed images; a missing list is an error."""
    suffix = '.lmdb' if backend == 'lmdb' else ''
    for side, noise in (('gt', 0), ('lq', 9)):
        files = [tmp_path / side / f'{name}.png' for name in 'abc']
        files[0].parent.mkdir()
        for i, file in enumerate(files):
            cv2.imwrite(str(file), data.coffee()[60 * i : 60 * i + 70, 200:290] // 2 + noise * i)
        if backend == 'lmdb':
            make_lmdb_from_imgs(
                str(tmp_path / side), f'{tmp_path / side}.lmdb', [file.name for file in files], list('abc')
            )
    (tmp_path / 'part.txt').write_text('c.png (70,90,3)\nb.png (70,90,3)\n')
    pairs = {
        'type': 'PairedImageDataset',
        'io_backend': {'type': backend},
        **{f'dataroot_{side}': f'{tmp_path / side}{suffix}' for side in ('gt', 'lq')},
    }

    def compare(list_file):
        datasets = {'set': {**pairs, 'meta_info_file': str(tmp_path / list_file)}}
        file = write_options(tmp_path, datasets, {'input': {'type': 'input'}})
        return main(['compare', '-opt', str(file), '-o', str(tmp_path / 'out')])

    assert compare('part.txt') == 0
    values = rows_of(tmp_path / 'out')[0]['input']['values']['PSNR']
    assert values == pytest.approx({'c': 20 * math.log10(255 / 18), 'b': 20 * math.log10(255 / 9)})
    assert compare('nowhere.txt') == 2
    assert f'meta_info_file: {tmp_path}/nowhere.txt does not exist' in capsys.readouterr().err


def test_images_that_share_the_name_of_a_pair_are_left_out(tmp_path):
    for name in ('gt/a.png', 'gt/b.png', 'gt/b.bmp', 'lq/a.png', 'lq/b.png', 'lq/c.png', 'lq/c.bmp'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), data.coffee()[:70, :90])
    roots = {f'dataroot_{side}': str(tmp_path / side) for side in ('gt', 'lq')}
    opened = open_test_set('set', {'type': 'PairedImageDataset', **roots})
    (read,) = opened.items
    assert read()[0] == f'{tmp_path}/gt/a.png'
    assert opened.problems == [
        '4 degraded and 3 true images; 1 pairs are compared',
        'several images have one name: '
        + ', '.join(f'{tmp_path}/{name}' for name in ('gt/b.bmp', 'gt/b.png', 'lq/b.png')),
        f'{tmp_path}/lq/c.bmp has no ground truth',
        f'{tmp_path}/lq/c.png has no ground truth',
    ]


@pytest.mark.parametrize('content', [b'', b'no image'])
def test_a_damaged_image_in_the_output_is_reported_and_rewritten_after_its_removal(
    tmp_path, small_lmdb, capsys, content
):
    dataset = {**degraded_set(small_lmdb), 'io_backend': {'type': 'lmdb'}}
    file = write_options(tmp_path, {'set': dataset}, {'input': {'type': 'input'}})
    command = ['compare', '-opt', str(file), '-o', str(tmp_path / 'out'), '--resume']
    assert main(command) == 0
    degraded, restored = (tmp_path / 'out/images/set' / which / '00003.png' for which in ('degraded', 'input'))
    whole = degraded.read_bytes()
    degraded.write_bytes(content)
    restored.unlink()
    assert main(command) == 1
    assert f'{degraded} is not an image; remove it and run with --resume' in capsys.readouterr().out
    degraded.unlink()
    assert main(command) == 0
    assert degraded.read_bytes() == whole and restored.exists()


def test_results_are_not_renamed_if_a_comparison_cannot_start(tmp_path, small_lmdb, capsys):
    dataset = {**degraded_set(small_lmdb), 'io_backend': {'type': 'lmdb'}}
    file, out = write_options(tmp_path, {'set': dataset}, {'input': {'type': 'input'}}), tmp_path / 'out'
    command = ['compare', '-opt', str(file), '-o']
    assert main([*command, str(out)]) == 0
    wrong = tmp_path / 'wrong'
    wrong.mkdir()
    write_options(wrong, {'set': {**dataset, 'dataroot_gt': 'nowhere.lmdb'}}, {'input': {'type': 'input'}})
    assert main(['compare', '-opt', str(wrong / 'compare.yml'), '-o', str(out)]) == 2
    assert [path.name for path in tmp_path.glob('out*')] == ['out']
    (tmp_path / 'src').mkdir()
    (tmp_path / 'src/a.png').touch()
    write_options(wrong, {'set': degraded_set(tmp_path / 'src')}, {'input': {'type': 'input'}})
    assert main(['compare', '-opt', str(wrong / 'compare.yml'), '-o', str(out)]) == 2
    assert [path.name for path in tmp_path.glob('out*')] == ['out']  # has its name again
    assert list(rows_of(out)[0]) == ['input']
    assert main([*command, str(out)]) == 0
    assert len(list(tmp_path.glob('out*'))) == 2  # the earlier comparison is renamed

    for other in (file, wrong):  # a file and a folder that are not comparisons
        for resume in ([], ['--resume']):
            capsys.readouterr()
            assert main([*command, str(other), *resume]) == 2
            assert f'{other} exists and is not a comparison' in capsys.readouterr().err
    assert [path.name for path in wrong.iterdir()] == ['compare.yml'] and file.is_file()


def test_a_comparison_without_results_leaves_no_folder(tmp_path, capsys):
    (tmp_path / 'src').mkdir()
    (tmp_path / 'src/a.png').touch()
    file = write_options(tmp_path, {'set': degraded_set(tmp_path / 'src')}, {'input': {'type': 'input'}})
    command = ['compare', '-opt', str(file), '-o']
    assert main([*command, str(tmp_path / 'new/out')]) == 2
    assert 'no image can be used' in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()
    assert main([*command, str(file / 'out')]) == 2
    assert f'compare: -o: {file} is a file, not a folder' in capsys.readouterr().err


def test_only_one_process_can_use_a_folder(tmp_path, small_lmdb, capsys):
    dataset = {**degraded_set(small_lmdb), 'io_backend': {'type': 'lmdb'}}
    file = write_options(tmp_path, {'set': dataset}, {'input': {'type': 'input'}})
    out = tmp_path / 'out'
    (out / 'progress').mkdir(parents=True)
    with holder(out / 'progress/lock') as (process, _):
        for resume in ([], ['--resume']):
            assert main(['compare', '-opt', str(file), '-o', str(out), *resume]) == 2
            assert f'{out} is in use by process {process.pid} on ' in capsys.readouterr().err
    assert [path.name for path in out.glob('**/*')] == ['progress']  # nothing is renamed
    assert main(['compare', '-opt', str(file), '-o', str(out)]) == 0


def test_names_that_look_like_numbers(tmp_path, small_lmdb):
    dataset = {**degraded_set(small_lmdb), 'io_backend': {'type': 'lmdb'}}
    file = write_options(tmp_path, {2024: dataset}, {64: {'type': 'input'}, 0.5: {'type': 'bicubic'}}, {1: PSNR})
    assert main(['compare', '-opt', str(file), '-o', str(tmp_path / 'out')]) == 0
    rows, _ = rows_of(tmp_path / 'out')
    assert list(rows) == ['64', '0.5'] and list(rows['64']['figures']) == ['1']


def test_files_with_repeated_or_no_options_are_refused(tmp_path):
    file = write_options(tmp_path, {'set': {'type': 'DegradationDataset'}}, {'64': {'type': 'input'}})
    text = file.read_text()
    file.write_text(text.replace("  '64':\n    type: input\n", "  '64': {type: input}\n  64: {type: bicubic}\n"))
    with pytest.raises(ValueError, match=r'compare.yml: restorers: 64 occurs twice, in lines 7 and 8'):
        read_comparison(file)
    file.write_bytes(text.encode('utf-16'))
    with pytest.raises(ValueError, match=r'compare.yml is not text in UTF-8'):
        read_comparison(file)


@pytest.mark.parametrize('file', sorted((REPOSITORY / 'options').glob('compare_*.yml')), ids=lambda file: file.stem)
def test_shipped_comparisons_use_weights_of_shipped_trainings(file):
    assert file.read_text().startswith(PLUGIN_LINE)
    trained = {yaml_load(str(other))['name'] for other in (REPOSITORY / 'options').rglob('*.yml')}
    weights = [
        options['pretrain_network_g']
        for options in read_comparison(file).restorers.values()
        if 'pretrain_network_g' in options
    ]
    to_train = [path for path in weights if REPOSITORY / path not in PACKAGED.values()]
    assert weights and all(Path(path).match('experiments/*/models/net_g_latest.pth') for path in to_train)
    assert {Path(path).parts[1] for path in to_train} <= trained


@pytest.mark.parametrize(('folder', 'prefix'), [('peers', 'peer'), ('faces_peers', 'faces_peer')])
def test_peers_differ_only_in_network_specific_options(folder, prefix):
    files = sorted((REPOSITORY / 'options' / folder).glob('*.yml'))
    options = [yaml_load(str(file)) for file in files]
    compared = read_comparison(REPOSITORY / f'options/compare_{folder}.yml').restorers.values()
    weights = [options['pretrain_network_g'] for options in compared if 'pretrain_network_g' in options]
    assert {Path(path).parts[1] for path in weights} == {opt['name'] for opt in options}
    for name, users in {'kl_opt': ['vae'], 'warping_opt': ['guided'], 'flow_opt': ['guided']}.items():
        assert [file.stem for file, opt in zip(files, options) if opt['train'].pop(name, None)] == users
    for phase in ('train', 'val'):
        guides = [opt['datasets'][phase].pop('guide', None) is not None for opt in options]
        assert [file.stem for file, guide in zip(files, guides) if guide] == ['guided']
    assert [opt.pop('name') for opt in options] == [f'{prefix}_{file.stem}' for file in files]
    assert len({str(opt.pop('network_g')) for opt in options}) == len(files)
    assert all(opt == options[0] for opt in options)


# ------------------------------------------------------------------------------------------------------- figures


@pytest.mark.parametrize('values', [np.random.default_rng(0).normal(28, 3, 40), [20.0, 21.0, 35.0]])
def test_interval_equals_the_percentile_bootstrap(values):
    means = np.random.default_rng(1).choice(values, (20_000, len(values))).mean(axis=1)
    low, high = bootstrap_interval(values)
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.05 * np.std(values))
    assert (low, high) == bootstrap_interval(values)


@pytest.mark.parametrize(('images', 'in_words'), [(6, 'six'), (50, 'fifty')])
def test_coverage_of_the_interval_equals_the_notes(monkeypatch, images, in_words):
    monkeypatch.setattr(intervals, 'RESAMPLES', 1000)
    bounds = np.array([bootstrap_interval(values) for values in np.random.default_rng(0).normal(size=(1000, images))])
    coverage = ((bounds[:, 0] <= 0) & (bounds[:, 1] >= 0)).mean()
    stated = re.search(rf'(\d+)( of 100 cases)? with {in_words}', tables.NOTES)[1]
    assert 100 * coverage == pytest.approx(int(stated), abs=2)


def test_interval_of_one_image_is_unknown():
    assert all(map(math.isnan, bootstrap_interval([30.0])))
    assert bootstrap_interval([30.0, 30.0]) == (30, 30)


def test_images_without_a_value_are_reported():
    psnr, fed = build_metric('PSNR', PSNR), build_metric('FED', {'type': 'calculate_fed'})
    for name, *values in [('x', 30.0, math.nan), ('y', 20.0, 0.5), ('z', math.inf, 0.7)]:
        for metric, value in zip((psnr, fed), values):
            metric.add(name, value)
    assert psnr.describe_unmeasured() + fed.describe_unmeasured() == [
        'PSNR has no value for 1 of 3 images: z (the images are equal)',
        'FED has no value for 1 of 3 images: x (the face is not found in one of the images)',
    ]
    row = make_row('a', [psnr, fed], ['x', 'y', 'z'], [], {})
    assert row.figures['FED'].mean == pytest.approx(0.6) and row.figures['FED'].images == 2
    assert row.values == {'PSNR': {'x': 30, 'y': 20}, 'FED': {'y': 0.5, 'z': 0.7}}
    assert tables.format_figure(row, fed).endswith('(2 of 3)')


def test_best_rows_have_values_for_all_images():
    figures = {'a': Figure(1, 0, 0, 2), 'b': Figure(3, 0, 0, 1), 'c': Figure(2, 0, 0, 2)}
    rows = [Row(label, 2, 2, {'m': figure}, {}) for label, figure in figures.items()]
    assert [row.label for row in best_rows(rows, build_metric('m', HIGHER))] == ['c']
    assert [row.label for row in best_rows(rows, build_metric('m', LOWER))] == ['a']
    assert tables.format_figure(rows[1], build_metric('m', LOWER)) == '3.0000 [0.0000, 0.0000] (1 of 2)'
    assert tables.format_figure(rows[1], build_metric('m', PSNR)) == '3.00 [0.00, 0.00] (1 of 2)'


def test_images_without_any_values_do_not_count():
    values = {'a': {'x': 1.0, 'y': 3.0}, 'b': {'x': 2.0}, 'c': {'x': 4.0, 'y': 2.0}}
    rows = [
        Row(label, 3, 3, {'m': Figure(np.mean([*of.values()]), 0, 0, len(of))}, {'m': of})
        for label, of in values.items()
    ]
    assert [row.label for row in best_rows(rows, build_metric('m', LOWER))] == ['a']
    assert [row.label for row in best_rows(rows[:2], build_metric('m', HIGHER))] == ['a']  # b lacks y


@pytest.mark.parametrize(
    'network',
    [CSRGenerator(num_feat=4), nn.Conv2d(3, 8, 3, padding=1), nn.MultiheadAttention(8, 2, batch_first=True)],
    ids=['csr', 'conv', 'attention'],
)
def test_operations_equal_those_counted_by_mmengine(network):
    if isinstance(network, nn.MultiheadAttention):
        network, x = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)), torch.rand(1, 5, 8)
    else:
        x = torch.rand(1, 3, 64, 96)
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    # mmengine also counts normalization, which is about 1 % here.
    assert worker.count_operations(network, x) == pytest.approx(counter.get_total_flops(), rel=0.04)


def test_memory_of_a_call():
    before = worker._memory()
    worker._reset_peak_memory()
    with mmap.mmap(-1, 50 << 20) as memory:  # outside the heap, which may have enough freed memory
        memory[:: mmap.PAGESIZE] = bytes(len(memory) // mmap.PAGESIZE)
    assert 49 < (worker._peak_memory() - before) / worker.MIB < 70


# ----------------------------------------------------------------------------------------------------- restorers


def test_classical_restorers_equal_opencv():
    image = data.astronaut()[100:164, 200:280]
    assert np.array_equal(methods.nearest(image, (64, 80)), image)
    assert np.array_equal(methods.nearest(image, (128, 160)), image.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(methods.bicubic(image, (64, 80)), image)
    close = cv2.resize(image, (160, 128), interpolation=cv2.INTER_CUBIC)
    assert np.abs(methods.bicubic(image, (128, 160)).astype(int) - close).max() <= 1
    noisy = (image + np.random.default_rng(0).normal(0, 20, image.shape)).clip(0, 255).astype(np.uint8)
    denoised = methods.build_method({'type': 'fast_nl_means', 'h': 20, 'h_color': 20}).restore(noisy, (64, 80))
    error, denoised_error = (np.abs(p.astype(int) - image).mean() for p in (noisy, denoised))
    assert denoised_error < 0.8 * error
    peer = cv2.fastNlMeansDenoisingColored(noisy[..., ::-1].copy(), h=20, hColor=20)[..., ::-1]
    assert np.array_equal(denoised, peer)


@pytest.mark.parametrize(
    ('shape', 'scale', 'multiple', 'expected'),
    [
        ((50, 70), 1, 1, (50, 70)),
        ((50, 70), 1, 32, (64, 96)),
        ((50, 70), 4, 1, (13, 18)),
        ((50, 70), 2, 16, (32, 48)),
        ((25, 35), 2, 1, (25, 35)),
        ((25, 35), 1, 1, (50, 70)),
    ],
)
def test_size_of_a_networks_input(shape, scale, multiple, expected):
    image = np.full((*shape, 3), 51, np.uint8)
    assert methods._shrink(image, (50, 70), scale=scale, multiple=multiple).shape == (*expected, 3)
    grey = methods._shrink(image[..., :1], (50, 70), scale=scale, multiple=multiple)
    assert grey.shape == (*expected, 1) and (grey == 51).all()


def test_restoring_pads_and_crops(tmp_path):
    rrdb = {
        'type': 'RRDBNet',
        'num_in_ch': 3,
        'num_out_ch': 3,
        'scale': 1,
        'num_feat': 4,
        'num_block': 1,
        'num_grow_ch': 2,
    }  # takes multiples of 4 only
    image = data.astronaut()[:50, :70]
    with pytest.raises(AssertionError):
        methods.build_method({'network_g': rrdb}).restore(image, (50, 70))
    assert methods.build_method({'network_g': rrdb, 'multiple': 4}).restore(image, (50, 70)).shape == (50, 70, 3)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'network_g': {'type': 'NoSuchNet'}}, 'NoSuchNet'),
        ({'network_g': {'type': 'CSRGenerator', 'num_feet': 4}}, 'num_feet'),
        ({'network_g': {'type': 'CSRGenerator', 'num_feat': 4}, 'pretrain_network_g': 'WEIGHTS'}, 'WEIGHTS'),
    ],
)
def test_invalid_networks_are_reported(options, message, tmp_path):
    torch.save(CSRGenerator(num_feat=4, variant='spade').state_dict(), tmp_path / 'WEIGHTS')
    if 'pretrain_network_g' in options:
        options = {**options, 'pretrain_network_g': str(tmp_path / 'WEIGHTS')}
    with pytest.raises(ValueError, match=message):
        methods.build_method(options)


# ---------------------------------------------------------------------------------------------------------- logs


def test_a_log_survives_a_kill_and_is_discarded_if_options_change(tmp_path):
    file = tmp_path / 'set/a.jsonl'
    with open_log(file, {'h': 1}, []) as append:
        append({'name': 'x'})
        append({'name': 'y'})
        assert read_log(file, {'h': 1}) == [{'name': 'x'}, {'name': 'y'}]  # without closing the log
    file.write_text(file.read_text()[:-5])
    assert read_log(file, {'h': 1}) == [{'name': 'x'}]
    assert read_log(file, {'h': 2}) == []
    assert read_json(file) is read_json(tmp_path / 'none.json') is None
