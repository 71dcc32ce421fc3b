"""Tests of validation, also with damaged images and failing networks and metrics."""

import logging
import math
import signal

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_psnr
from basicsr.models import build_model
from basicsr.utils import tensor2img
from skimage import data
from torch.utils.data import DataLoader, Dataset

from hifacegan_plugin.data import DegradationDataset
from hifacegan_plugin.metrics.building import build_metrics
from hifacegan_plugin.metrics.catalogue import METRICS
from hifacegan_plugin.models import validation

PSNR = {'type': 'calculate_psnr', 'crop_border': 0}


class Images(Dataset):
    """A data set of images that are their own ground truth; an exception in their place is raised on reading."""

    def __init__(self, items: dict) -> None:
        self.opt = {'name': 'set'}
        self.items = list(items.items())

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        name, image = self.items[index]
        if isinstance(image, Exception):
            raise image
        return {'lq': image, 'gt': image, 'lq_path': f'/somewhere/{name}.png'}


class Recorder:
    """A replacement for TensorBoard."""

    def __init__(self) -> None:
        self.images, self.scalars = {}, {}

    def add_image(self, tag, image, *arguments, **options):
        self.images[tag] = image

    def add_scalar(self, tag, value, *arguments):
        self.scalars[tag] = value


def image(seed: int) -> torch.Tensor:
    top = 40 * seed
    return torch.from_numpy(np.ascontiguousarray(data.astronaut()[top : top + 192, 100:292])).permute(2, 0, 1) / 255


@pytest.fixture
def model(options, tmp_path):
    """A model that brightens images slightly, and fails depending on the name of the image."""
    options['val'] = {
        'metrics': {
            'psnr': dict(PSNR),
            'niqe': {'type': 'calculate_niqe', 'crop_border': 0},
            'lle': {'type': 'calculate_lle'},
        }
    }
    options['path']['visualization'] = str(tmp_path / 'visualization')
    model = build_model(options)

    def test():
        model.output = model.lq * 0.9 + 0.1
        if 'nan' in model.paths[0]:
            model.output[0, 0, 5, 5] = math.nan
        if 'small' in model.paths[0]:
            model.output = model.output[..., :-1]
        if 'heavy' in model.paths[0]:
            raise torch.OutOfMemoryError('no memory')

    model.test = test
    return model


def validate(model, items: dict, iteration: int = 1, save_img: bool = False) -> Recorder:
    recorder = Recorder()
    model.validation(DataLoader(Images(items)), iteration, recorder, save_img)
    return recorder


def test_failures_are_reported_and_other_images_validated(model, caplog, tmp_path):
    items = {
        'good': image(0),
        'nan': image(1),
        'damaged': OSError('damaged.png holds no image'),
        'heavy': image(2),
        'other': image(3),
        'small': image(4),
        'even': torch.full((3, 192, 192), 0.5),
    }
    with caplog.at_level(logging.WARNING):
        recorder = validate(model, items, save_img=True)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == (
        'set: 3 of 7 images could not be restored: nan (the network returns NaN or infinite values); '
        'image 2 (damaged.png holds no image); heavy (no memory)'
    )
    assert lines[1].startswith('psnr has no value for 1 of 4 images: small (Image shapes are different')
    assert lines[2].startswith('niqe has no value for 1 of 4 images: even (')
    assert 'lle has no value for 2 of 4 images: even, other (the face is not found' in caplog.text

    truths = {name: tensor2img(items[name]) for name in ('good', 'other', 'even')}
    restored = {name: tensor2img(items[name] * 0.9 + 0.1) for name in truths}
    expected = np.mean([calculate_psnr(restored[name], truths[name], 0) for name in truths])
    assert model.metric_results['psnr'] == pytest.approx(expected, abs=1e-6)
    assert recorder.scalars['metrics/set/psnr'] == model.metric_results['psnr']
    assert all(map(math.isfinite, model.metric_results.values()))
    assert set(recorder.images) == {'set/good'}  # the restored images among the first four
    assert sorted(path.parent.name for path in tmp_path.glob('visualization/*/*.png')) == [
        'even',
        'good',
        'other',
        'small',
    ]


def test_a_checkpoint_of_an_interrupted_validation_has_the_random_state_of_the_training(model):
    def draw_and_stop():
        model.output = torch.rand_like(model.lq)
        model.stop_signal.number = signal.SIGTERM

    model.test, model.iteration, model.validator.metrics = draw_and_stop, 3, []
    before = torch.get_rng_state()
    with pytest.raises(SystemExit):
        validate(model, {'a': image(0), 'b': image(1)})
    state = torch.load(f'{model.opt["path"]["training_states"]}/3.state')
    assert torch.equal(state['random_states'][0]['torch'], before)


def test_grey_images(options, tmp_path):
    options['network_g']['num_in_ch'] = 1
    del options['network_d'], options['train']['gan_opt'], options['train']['feature_matching_opt']
    options['val'] = {'metrics': {'psnr': dict(PSNR), 'niqe': {'type': 'calculate_niqe', 'crop_border': 0}}}
    options['path']['visualization'] = str(tmp_path)
    grey = image(0)[:1]
    items = {'grey': grey, 'colours': grey.expand(3, -1, -1)}
    model = build_model(options)
    model.test = lambda: vars(model).update(output=model.lq * 0.9 + 0.1)
    recorder = validate(model, items, save_img=True)
    expected = tensor2img(grey * 0.9 + 0.1)
    assert model.metric_results['psnr'] == pytest.approx(calculate_psnr(expected, tensor2img(grey), 0), abs=0.02)
    assert math.isfinite(model.metric_results['niqe'])
    for name in items:
        assert recorder.images[f'set/{name}'].shape == (192, 3 * 192, 3)
        restored = cv2.imread(str(tmp_path / name / f'{name}_1.png'), cv2.IMREAD_UNCHANGED)
        assert restored.shape == (192, 192) and np.abs(restored.astype(int) - expected).max() <= 1


def test_images_with_the_same_name_are_saved_separately(model, tmp_path):
    for name in ('a/1', 'b/1'):
        (tmp_path / name).parent.mkdir()
        cv2.imwrite(str(tmp_path / f'{name}.png'), tensor2img(image(0)))
    options = {
        'name': 'folders',
        'phase': 'val',
        'dataroot_gt': [str(tmp_path / 'a'), str(tmp_path / 'b')],
        'degradation': [],
    }
    model.opt.update(datasets={'val': options, 'val_2': {**options, 'name': 'others'}}, val={})
    for options in model.opt['datasets'].values():
        model.validation(DataLoader(DegradationDataset(options)), 7, None, True)
    saved = {str(path.relative_to(tmp_path / 'visualization')) for path in tmp_path.rglob('visualization/**/*.png')}
    assert saved == {
        f'{data_set}/{name}/{name}_7.png' for data_set in ('folders', 'others') for name in ('a%2F1', 'b%2F1')
    }


def test_best_figures_use_the_direction_of_the_metric(model):
    model.validator.metrics = model.validator.metrics[:2]  # without lle
    history = []
    for iteration, seed in enumerate((0, 1, 4)):
        validate(model, {'a': image(seed)}, iteration)
        history.append(model.metric_results)
    for metric, best in (('psnr', max), ('niqe', min)):
        values = [figures[metric] for figures in history]
        record = model.best_figures.records['set'][metric]
        assert record['better'] == METRICS[f'calculate_{metric}'].better
        assert (record['val'], record['iter']) == (best(values), values.index(best(values)))


def test_a_new_metric_is_added_to_the_best_figures(model):
    niqe = {'better': 'lower', 'val': 0.0, 'iter': 3}
    model.best_figures.records = {'set': {'niqe': dict(niqe)}}
    model.validator.metrics = model.validator.metrics[:2]  # without lle
    validate(model, {'a': image(0)}, 4)
    psnr = {'better': 'higher', 'val': model.metric_results['psnr'], 'iter': 4}
    assert model.best_figures.records == {'set': {'niqe': niqe, 'psnr': psnr}}


def test_the_last_validation_belongs_to_the_last_iteration(model):
    model.opt['train']['total_iter'] = 2  # lowered before the training was resumed
    model.iteration = 4  # the last iteration
    validate(model, {'a': image(0)}, 5)  # the host increments it once more
    assert {record['iter'] for record in model.best_figures.records['set'].values()} == {4}


def test_if_no_image_can_be_restored_training_continues_and_a_test_fails(model, caplog):
    items = {'nan': image(0), 'other nan': image(1)}
    with caplog.at_level(logging.WARNING):
        validate(model, items)
    assert 'set: 2 of 2 images could not be restored' in caplog.text
    assert all(map(math.isnan, model.metric_results.values()))
    assert {record['iter'] for record in model.best_figures.records['set'].values()} == {-1}
    model.is_train = model.opt['is_train'] = False
    with pytest.raises(RuntimeError, match='set: 2 of 2 images could not be restored: nan'):
        validate(model, items)


@pytest.mark.parametrize(
    ('seconds', 'chosen', 'shown'),
    [
        (0, {}, True),
        (0, {'pbar': False}, False),
        (3600, {}, False),
    ],
    ids=['long', 'disabled', 'short'],
)
def test_progress_bar(seconds, chosen, shown, model, monkeypatch, capsys):
    monkeypatch.setattr(validation, 'SHORT', seconds)
    model.opt['val'], model.validator.metrics = chosen, []
    validate(model, {'a': image(0), 'b': image(1)})
    assert ('Validating set: 100%' in capsys.readouterr().err) == shown


def test_images_without_ground_truth(model):
    model.gt = torch.rand(1, 3, 8, 8)  # from the last training batch
    items = Images({'a': image(0)})
    item = items[0]
    del item['gt']
    model.validator.metrics = build_metrics({'niqe': {'type': 'calculate_niqe', 'crop_border': 0}})
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Images, '__getitem__', lambda self, index: item)
        model.validation(DataLoader(items), 1, recorder, False)
        assert recorder.images['set/a'].shape == (192, 2 * 192, 3)  # degraded and restored
        model.validator.metrics = build_metrics({'psnr': PSNR})
        with pytest.raises(ValueError, match='psnr needs the ground truth'):
            model.validation(DataLoader(items), 2, recorder, False)


def test_images_of_different_sizes_are_shown(model):
    assert validate(model, {'small': image(0)}).images['set/small'].shape == (192, 3 * 191, 3)


@pytest.mark.parametrize('metric', [{'type': 'calculate_pnsr'}, {**PSNR, 'better': 'lower'}])
def test_invalid_metrics_are_refused(options, metric):
    options['val'] = {'metrics': {'mine': metric}}
    with pytest.raises(ValueError, match='val: metrics: mine'):
        build_model(options)
