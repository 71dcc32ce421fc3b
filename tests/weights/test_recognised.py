"""Tests of other networks: their output equals that of the original program, for all kinds of files."""

import os
from types import SimpleNamespace

import pytest
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.archs.swinir_arch import SwinIR
from safetensors.torch import save_file
from torch import nn

from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.weights import RecognisedNetwork, WeightsError, load_network, recognised

pytest.importorskip('spandrel', reason='needs the spandrel extra')

PUBLISHED = {  # by spandrel's name: a small one of BasicSR, scale, smallest side, multiple
    'ESRGAN': (lambda: RRDBNet(3, 3, scale=4, num_feat=8, num_block=1, num_grow_ch=32), 4, 2, 1),
    'RealESRGAN Compact': (lambda: SRVGGNetCompact(3, 3, num_feat=8, num_conv=2, upscale=4), 4, 1, 1),
    'SwinIR': (
        lambda: SwinIR(
            img_size=16, embed_dim=12, depths=[2], num_heads=[2], window_size=8, upsampler='pixelshuffledirect'
        ),
        2,
        16,
        1,
    ),
}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return RRDBNet(3, 3, scale=2, num_feat=8, num_block=1, num_grow_ch=32).eval()


@pytest.mark.parametrize('name', PUBLISHED)
def test_output_equals_the_original_program(tmp_path, name):
    build, *expected = PUBLISHED[name]
    torch.manual_seed(0)
    published = build().eval()
    torch.save({'params_ema': published.state_dict()}, tmp_path / 'a.pth')
    network = load_network(tmp_path / 'a.pth')
    assert network.architecture == name and network.num_in_ch == 3 and network.only_side is None
    assert [network.scale, network.smallest_side, network.multiple] == expected
    images = torch.rand(2, 3, 24, 32)
    with torch.no_grad():
        assert torch.allclose(network(images), published(images).clamp(0, 1), atol=1e-5)


@pytest.mark.parametrize('key', [None, 'params', 'params-ema', 'state_dict', 'model'])
def test_nested_weights_are_found(tmp_path, network, key):
    weights = {f'module.{name}': value for name, value in network.state_dict().items()}
    torch.save({key: weights, 'epoch': 3} if key else weights, tmp_path / 'a.pth')
    images = torch.rand(1, 3, 21, 30)  # padded to a multiple of 4
    loaded = load_network(tmp_path / 'a.pth')
    assert loaded.multiple == 4 and loaded(images).shape == (1, 3, 42, 60)
    save_file(network.state_dict(), tmp_path / 'a.safetensors')
    assert torch.equal(load_network(tmp_path / 'a.safetensors')(images), loaded(images))


def test_own_weights_are_not_recognised_as_others(tmp_path):
    torch.save(CSRGenerator(num_feat=4).state_dict(), tmp_path / 'a.pth')
    assert isinstance(load_network(tmp_path / 'a.pth'), CSRNetwork)


class Harm:
    def __reduce__(self):
        return os.system, ('exit 1',)


def test_other_files_are_refused(tmp_path, network, monkeypatch):
    weights = network.state_dict()
    edsr = EDSR(3, 3, num_feat=4, num_block=1, upscale=1)
    refused = {
        'code.pth': ({'params': weights, 'extra': Harm()}, 'refused, because it holds more than tensors'),
        'unknown.pth': (
            nn.Linear(3, 3).state_dict(),
            'not weights of a HiFaceGAN generator, nor of a network that spandrel',
        ),
        'part.pth': (
            {key: value for key, value in weights.items() if 'rdb2' not in key},
            r'look like weights of ESRGAN, but do not fit it \(Error\(s\) in loading',
        ),
        'edsr.pth': (
            {'params': edsr.state_dict(), 'network_g': {'type': 'EDSR'}},
            'are weights of EDSR, a network of B',
        ),
    }
    for name, (content, message) in refused.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(WeightsError, match=rf'{name}: .*{message}'):
            load_network(tmp_path / name)
    torch.save(weights, tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match=r'a\.pth: norm can only be given for a CSRGenerator'):
        load_network(tmp_path / 'a.pth', norm='rms')
    monkeypatch.setattr(recognised, 'find_spec', lambda name: None)
    with pytest.raises(WeightsError, match=r'a\.pth: .*not installed. Run: pip install "hifacegan-plugin\[spandrel\]"'):
        load_network(tmp_path / 'a.pth')


class Noisy(nn.Conv2d):
    """A layer that adds noise, as in StyleGAN."""

    def forward(self, x):
        return super().forward(x) + torch.randn_like(x)


def describe(architecture, **others):
    return SimpleNamespace(
        model=Noisy(3, 3, 1),
        architecture=SimpleNamespace(id=architecture, name=architecture),
        input_channels=3,
        scale=1,
        size_requirements=SimpleNamespace(minimum=512, multiple_of=1),
        supports_bfloat16=True,
        supports_half=False,
        **others,
    )


def test_random_networks_are_reproducible_and_do_not_change_the_random_state():
    class Descriptor(SimpleNamespace):
        def __call__(self, image):
            return self.model(image)

    network = RecognisedNetwork(Descriptor(**vars(describe('ESRGAN'))))
    images = torch.rand(1, 3, 20, 20).repeat(2, 1, 1, 1)
    state = torch.get_rng_state()
    first = network(images)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first[0], first[1]) and torch.equal(first, network(images))
    assert network.dtypes == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize('architecture', ['GFPGAN', 'CodeFormer'])
def test_networks_of_a_fixed_size(architecture):
    network = RecognisedNetwork(describe(architecture))
    assert network.only_side == 512
    with pytest.raises(ValueError, match=rf'{architecture} restores aligned faces of 512x512 pixels, .* has 400x512'):
        network(torch.rand(1, 3, 512, 400))


@pytest.mark.heavy
@pytest.mark.parametrize('architecture', ['GFPGAN', 'CodeFormer', 'RestoreFormer'])
def test_face_restorers_of_the_published_size(tmp_path, architecture):
    """Networks of the published size with random weights, in the file format of their releases."""
    torch.manual_seed(0)
    if architecture == 'GFPGAN':
        from spandrel.architectures.GFPGAN import GFPGAN

        published = GFPGAN(channel_multiplier=2, num_mlp=8, input_is_latent=True, different_w=True, sft_half=True)
    elif architecture == 'CodeFormer':
        published = pytest.importorskip('spandrel_extra_arches.architectures.CodeFormer').CodeFormer()
    else:
        from spandrel.architectures.RestoreFormer import RestoreFormer

        published = RestoreFormer()
    torch.save({'params_ema': published.state_dict()}, tmp_path / 'a.pth')
    network = load_network(tmp_path / 'a.pth')
    assert network.architecture == architecture
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in published.parameters())
    image = torch.rand(1, 3, 512, 512)
    restored = network(image)
    assert restored.shape == image.shape and torch.equal(restored, network(image))
    if network.only_side:  # the network accepts no other size
        with pytest.raises(RuntimeError), torch.no_grad():
            published.eval()(torch.rand(1, 3, 576, 576))
