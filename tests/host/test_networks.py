"""Networks against the images of data sets, before a training or test begins."""

import re

import pytest
from host_training import DEMO

from hifacegan_plugin.doctor.training import parse_as_host
from hifacegan_plugin.host.networks import problems_of_generator, problems_of_networks
from hifacegan_plugin.host.starting import check_options

GENERATOR = {'type': 'CSRGenerator'}
COLOUR = {'type': 'DegradationDataset', 'dataroot_gt': 'x', 'gt_size': 64}
GREY = COLOUR | {'color': 'grey'}
DISCRIMINATOR = {'type': 'MultiscalePatchDiscriminator', 'num_feat': 4}


def found(network_g, dataset, network_d=None, model='HiFaceGANCSRModel', progressive=None):
    train = {'gan_opt': {'type': 'MultiScaleGANLoss'} if network_d else None, 'progressive': progressive}
    opt = {'model_type': model, 'is_train': True, 'datasets': {'train': dataset}, 'train': train}
    return [
        f'{p.what} -> {p.fix}' for p in problems_of_networks({**opt, 'network_g': network_g, 'network_d': network_d})
    ]


@pytest.mark.parametrize(
    ('network', 'dataset', 'message'),
    [
        (GENERATOR | {'num_in_ch': 4}, COLOUR, 'num_in_ch: 4, but the degraded images of datasets: train would have 3'),
        (GENERATOR | {'num_in_ch': 2}, GREY, 'num_in_ch: 2, .* would have one channel. -> set num_in_ch: 1'),
        ({'type': 'GuidedRestorer'}, GREY, 'num_in_ch: 3, .* would have one channel. -> set num_in_ch: 1'),
        (
            {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 4},
            COLOUR | {'type': 'PairedImageDataset'},
            'num_out_ch: 4, but the ground truth of datasets: train would have 3 channels. -> set num_out_ch: 3',
        ),
        ({'type': 'SRVGGNetCompact', 'num_in_ch': 1}, COLOUR, 'num_out_ch: 3, .* one channel. -> set num_out_ch: 1'),
    ],
)
def test_channels_that_the_images_have_not_are_refused(network, dataset, message):
    (problem,) = found(network, dataset)
    assert re.match(f'network_g: {message}', problem)


@pytest.mark.parametrize('dataset', [COLOUR, GREY, COLOUR | {'type': 'PairedImageDataset', 'color': 'y'}])
@pytest.mark.parametrize('network', [GENERATOR, GENERATOR | {'num_in_ch': 1}, {'type': 'SwinIR'}])
def test_grey_and_colour_images_are_converted_for_the_network(network, dataset):
    assert found(network, dataset) == []


def test_images_of_other_data_sets_and_models_may_have_any_number_of_channels():
    network = GENERATOR | {'num_in_ch': 4}
    assert found(network, {'type': 'MineDataset'}) == found(network, COLOUR, model='SRModel') == []


@pytest.mark.parametrize(
    ('options', 'side', 'progressive'),
    [({'num_d': 6}, 64, None), ({'num_d': 5}, 32, None), ({'num_d': 7, 'n_layers_d': 2}, 64, None),
     ({'num_d': 4}, 64, [1, 2])],
)  # fmt: skip
def test_crops_that_are_large_enough(options, side, progressive):
    assert found(GENERATOR, COLOUR | {'gt_size': side}, DISCRIMINATOR | options, progressive=progressive) == []


@pytest.mark.parametrize(
    ('options', 'side', 'progressive'),
    [({'num_d': 7}, 64, None), ({'num_d': 6}, 32, None), ({'num_d': 5}, 64, [1, 2]), ({'num_d': 1}, 2**70, None)],
)
def test_crops_that_are_too_small_for_the_discriminator(options, side, progressive):
    (problem,) = found(GENERATOR, COLOUR | {'gt_size': side}, DISCRIMINATOR | options, progressive=progressive)
    assert problem.startswith(f'datasets: train: gt_size: {side}: network_d (MultiscalePatchDiscriminator, ')
    assert f'num_d: {options["num_d"]}, n_layers_d: 4' in problem
    assert problem.endswith(' -> raise gt_size, or lower num_d')


def test_other_discriminators_are_tried_as_well():
    fitting = {'type': 'VGGStyleDiscriminator', 'num_in_ch': 6, 'num_feat': 4, 'input_size': 128}
    assert found(GENERATOR, COLOUR | {'gt_size': 128}, fitting) == []
    (problem,) = found(GENERATOR, COLOUR, fitting)
    assert problem.endswith(' -> change gt_size or network_d')


def of_sizes(network, **datasets):
    opt = {
        'network_g': network,
        'is_train': False,
        'datasets': {name: one | {'phase': name[:5]} for name, one in datasets.items()},
    }
    return [f'{problem.what} -> {problem.fix}' for problem in problems_of_generator(opt)]


VALIDATED = {'type': 'DegradationDataset', 'dataroot_gt': 'x'}
FAST = GENERATOR | {'preset': 'fast'}


@pytest.mark.parametrize(
    ('network', 'train', 'val', 'message'),
    [
        (GENERATOR, COLOUR | {'gt_size': 32}, {}, 'train: gt_size: 32 .* 64 x 64 up. -> set gt_size: 64 or more'),
        (FAST, COLOUR | {'gt_size': 8}, {}, 'train: gt_size: 8 .* 16 x 16 up. -> set gt_size: 16 or more'),
        (FAST, {'type': 'PairedImageDataset', 'gt_size': 8}, {}, 'train: gt_size: 8 is too small'),
        (FAST, VALIDATED | {'resize': [64, 8]}, {}, r'train: resize: 8 is too small.* -> set resize: 16 or more'),
        (GENERATOR, COLOUR, {'resize': 48}, 'val: resize: 48 is too small'),
    ],
)
def test_images_that_are_too_small_for_the_generator(network, train, val, message):
    (problem,) = of_sizes(network, train=train, val=VALIDATED | val)
    assert re.match(f'datasets: {message}', problem)


def test_images_of_other_sizes_are_accepted():
    assert of_sizes(GENERATOR, train=COLOUR | {'resize': 32}, val=VALIDATED) == []
    assert of_sizes(FAST, train=COLOUR | {'gt_size': 16}, val=VALIDATED | {'resize': [16, 20]}) == []
    assert of_sizes({'type': 'SwinIR'}, train=COLOUR | {'gt_size': 8}) == []
    assert of_sizes(GENERATOR, train={'type': 'MineDataset', 'gt_size': 8, 'scale': 4}) == []
    assert of_sizes(GENERATOR, val={'type': 'PairedImageDataset', 'gt_size': 8}) == []


def test_a_generator_that_keeps_the_size_cannot_enlarge():
    (problem,) = of_sizes(GENERATOR, train=COLOUR | {'scale': 4})
    assert problem.startswith('scale is 4, but CSRGenerator returns images of the size of its input. -> set scale: 1')


def test_a_training_with_crops_that_are_too_small_does_not_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'options.yml').write_text(DEMO.read_text().replace('gt_size: 64', 'gt_size: 12'))
    opt, _ = parse_as_host(tmp_path / 'options.yml', True)
    with pytest.raises(ValueError, match='gt_size: 12 is too small'):
        check_options(opt)


@pytest.mark.parametrize(
    ('train', 'message'),
    [
        ('lr_factors: {encoder: 0}', "^train: lr_factors: the generator has no part 'encoder'"),
        ('kl_opt: {type: KLDivergenceLoss, loss_weight: 1.0}', 'train: kl_opt: .* does not return mean, log_variance'),
    ],
)
def test_a_training_that_the_generator_does_not_support_does_not_start(train, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'options.yml').write_text(DEMO.read_text().replace('\ntrain:\n', f'\ntrain:\n  {train}\n'))
    opt, _ = parse_as_host(tmp_path / 'options.yml', True)
    with pytest.raises(ValueError, match=message):
        check_options(opt)
