"""Tests of the folded network, compared with the original network."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.archs.csr.paper import VARIANTS
from hifacegan_plugin.archs.csr.replenishment import NORMS
from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.archs.folded.network import FoldedCSR
from hifacegan_plugin.archs.folded.strips import Strip, Walk, grow, moments, stored, upsampled
from hifacegan_plugin.restore.engines.inference import network_for

TOLERANCE = 1e-4
WALKS = [
    Walk(),
    pytest.param(Walk(strip_elements=20_000), id='strips'),
    pytest.param(Walk(strip_elements=1), id='thinnest strips'),
    pytest.param(Walk(strip_elements=20_000, frugal=True), id='frugal'),
]


@torch.no_grad()
def make_generator(**options) -> CSRNetwork:
    """A network with weights for which the output has the contrast of an image."""
    torch.manual_seed(0)
    generator = CSRGenerator(num_feat=4, **options).eval()
    for parameter in generator.parameters():
        if parameter.dim() == 4:
            nn.init.xavier_normal_(parameter)
        else:
            nn.init.normal_(parameter, 0.1, 0.1)
    outputs = []
    hook = generator.to_picture.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    generator(torch.rand(1, 3, 64, 64))
    hook.remove()
    generator.to_picture.weight.mul_(0.25 / outputs[0].std())
    return generator


@torch.no_grad()
@pytest.mark.parametrize('walk', WALKS)
@pytest.mark.parametrize('variant', VARIANTS)
def test_output_equals_the_generators(variant, walk):
    generator = make_generator(variant=variant)
    images = torch.rand(2, 3, 100, 75)
    expected = generator(images)
    assert 0.1 < expected.std() < 0.5
    assert (FoldedCSR(generator)(images, walk) - expected).abs().max() < TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize('preset', ['paper', 'fast'])
def test_the_generator_can_still_be_trained(preset):
    generator = CSRGenerator(num_feat=4, preset=preset).train()
    images = torch.rand(1, 3, 64, 64)
    network = network_for(generator)
    before = network(images)
    assert generator.training
    for parameter in generator.parameters():
        parameter.add_(0.1)
    assert torch.equal(network(images), before)


@torch.no_grad()
@pytest.mark.parametrize('walk', WALKS)
@pytest.mark.parametrize('norm', NORMS)
def test_norms_and_residual(norm, walk):
    generator = make_generator(norm=norm, global_residual=True)
    images = torch.rand(1, 3, 64, 96)
    assert (FoldedCSR(generator)(images, walk) - generator(images)).abs().max() < TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize('name', ['csr_ngf10_64', 'lip_spade_ngf4_64', 'spade_ngf4_64'])
def test_output_equals_the_reference(reference_dir, name):
    tensors = load_file(reference_dir / f'{name}.safetensors')
    prefix = 'state_dict.'
    state_dict = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    variant = next(variant for variant in ('lip_spade', 'spade', 'csr') if name.startswith(variant))
    generator = CSRGenerator(num_feat=10 if '10' in name else 4, variant=variant)
    generator.load_state_dict(state_dict)
    output = FoldedCSR(generator)(tensors['input'], Walk(strip_elements=50_000))
    assert (output - tensors['output_per_sample']).abs().max() < TOLERANCE


@torch.no_grad()
def test_output_does_not_depend_on_the_batch():
    network = FoldedCSR(make_generator())
    images = torch.rand(3, 3, 64, 64)
    walk = Walk(strip_elements=20_000)
    alone = torch.cat([network(image[None], walk) for image in images])
    assert (network(images, walk) - alone).abs().max() < 1e-5


@torch.no_grad()
def test_frugal_mode_stores_less(monkeypatch):
    network = FoldedCSR(make_generator())
    sizes = {}

    def count(frugal):
        stored_maps = []
        empty = torch.empty

        def record(shape, **options):
            stored_maps.append(torch.Size(shape).numel())
            return empty(shape, **options)

        monkeypatch.setattr(torch, 'empty', record)
        network(torch.rand(1, 3, 256, 64), Walk(20_000, frugal))
        monkeypatch.setattr(torch, 'empty', empty)
        return sum(stored_maps)

    sizes = {frugal: count(frugal) for frugal in (False, True)}
    assert sizes[True] < 0.45 * sizes[False]


def test_number_of_operations():
    """Operations on 128 x 128 pixels at width 48, that of the smaller published networks."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device('meta'):
        image = torch.rand(1, 3, 128, 128)
        generator = CSRGenerator(num_feat=48).eval()
    counts = []
    for network in (generator, FoldedCSR(generator)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(image)
        counts.append(counter.get_total_flops() * 16 / 1e9)  # GFLOP at 512 x 512
    assert counts[0] == pytest.approx(863, abs=1)
    assert counts[1] == pytest.approx(816, abs=1)


def test_strips_of_an_upsampled_map():
    x = torch.rand(1, 2, 6, 3)
    whole = F.interpolate(x, scale_factor=2)
    for start in range(12):
        for stop in range(start + 1, 13):
            strip = Strip(start, stop, 12)
            assert torch.equal(upsampled(stored(x))(strip), stored(whole)(strip))
    assert grow(Strip(0, 12, 12), 2) == Strip(0, 12, 12)


def test_moments_survive_a_large_mean():
    x = (1000 + torch.rand(2, 3, 64, 64, dtype=torch.float64)).contiguous(memory_format=torch.channels_last)
    mean, variance = moments(x.float(), Strip(0, 64, 64))
    reference = x.float().double()
    torch.testing.assert_close(mean.double(), reference.mean((2, 3), keepdim=True), rtol=1e-7, atol=0)
    expected = reference.var((2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(variance.double(), expected, rtol=1e-3, atol=0)


@torch.no_grad()
@pytest.mark.parametrize('variant', VARIANTS)
def test_float16_stays_close(variant):
    """As on a GPU, images are not divided into strips."""
    generator = make_generator(variant=variant)
    images = torch.rand(1, 3, 100, 75)
    error = (FoldedCSR(generator).compute_in(torch.float16)(images).float() - generator(images)).abs()
    assert 0 < error.mean() < 0.002


@torch.no_grad()
@pytest.mark.parametrize('walk', WALKS)
@pytest.mark.parametrize('variant', VARIANTS)
def test_bfloat16_takes_little_contrast(variant, walk):
    """Rounding the image itself to bfloat16 would lose a tenth of its contrast."""
    generator = make_generator(variant=variant)
    images = 0.6 + 0.05 * F.avg_pool2d(torch.rand(1, 3, 100, 75), 3, 1, 1)
    expected = generator(images)
    network = FoldedCSR(generator).compute_in(torch.bfloat16)
    error = (network(images, walk).float() - expected).abs().mean()
    assert 0 < error < 0.02
