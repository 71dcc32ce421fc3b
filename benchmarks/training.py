"""Compare the speed of training iterations with BasicSR's model and with the reference implementation's update.

    python benchmarks/training.py                                        # two to three minutes on two cores
    python benchmarks/training.py --size 256 --iterations 6              # larger crops

1. `HiFaceGANCSRModel` and BasicSR's `HiFaceGANModel` on BasicSR's networks (HiFaceGAN, HiFaceGANDiscriminator), with
   the same initial weights and batches.
2. `HiFaceGANCSRModel` and a plain version of the reference implementation's update on the CSR network. The plain
   version runs the generator again for the discriminator's update, and the discriminator separately for both updates.
3. The losses of both models of 1. Each forward pass of the discriminator updates its spectral norm: twice per iteration
   in BasicSR, once in ours. Therefore the losses are also compared with a frozen spectral norm and SGD. Adam would
   amplify rounding errors of gradients close to zero.

The models take turns after each iteration; the script prints medians. There is no perceptual loss, because it needs the
weights of VGG19; its cost would be the same for all models.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from basicsr.losses import build_loss
from basicsr.models import build_model
from torch import nn
from torch.nn.utils.spectral_norm import SpectralNorm

import hifacegan_plugin  # noqa: F401 (registers the model)

ADAM = {'type': 'Adam', 'lr': 1e-4, 'betas': [0.0, 0.9]}
LOSSES = {
    'pixel_opt': {'type': 'L1Loss', 'loss_weight': 10.0},
    'gan_opt': {'type': 'MultiScaleGANLoss', 'gan_type': 'lsgan'},
    'feature_matching_opt': {'type': 'FeatureMatchingLoss'},
}


def model(kind: str, networks: dict[str, Any], num_gpu: int = 0, **train: Any) -> Any:
    """Build a model of BasicSR's registry, always with the same random seed."""
    torch.manual_seed(0)
    course = {'scheduler': {'type': 'MultiStepLR', 'milestones': [10**6]}, 'total_iter': 10**6}
    train = {'optim_g': dict(ADAM), 'optim_d': dict(ADAM), **course, **LOSSES, **train}
    folders = dict.fromkeys(('models', 'training_states'), tempfile.gettempdir())
    options = {'model_type': kind, 'num_gpu': num_gpu, 'is_train': True, 'dist': False, 'rank': 0, 'path': folders}
    return build_model({**options, 'logger': {'print_freq': 10**9}, 'train': train, **networks})


def as_step(trained: Any) -> Callable[[dict[str, torch.Tensor]], dict[str, float]]:
    """Return a function that trains a model on one batch and returns its losses."""

    def step(batch: dict[str, torch.Tensor]) -> dict[str, float]:
        trained.feed_data(batch)
        trained.optimize_parameters(1)
        return dict(trained.get_current_log())

    return step


def reference_step(net_g: nn.Module, net_d: nn.Module) -> Callable[[dict[str, torch.Tensor]], dict[str, float]]:
    """Return a function that updates both networks like the reference implementation and returns the losses."""
    pixel, gan, feature = (build_loss(options) for options in LOSSES.values())
    optimizers = [torch.optim.Adam(net.parameters(), lr=ADAM['lr'], betas=ADAM['betas']) for net in (net_g, net_d)]

    def judge(lq: torch.Tensor, fake: torch.Tensor, gt: torch.Tensor) -> list[list[list[torch.Tensor]]]:
        outputs = net_d(torch.cat([torch.cat([lq, fake], 1), torch.cat([lq, gt], 1)]))
        return [[[layer.chunk(2)[i] for layer in scale] for scale in outputs] for i in (0, 1)]

    def step(batch: dict[str, torch.Tensor]) -> dict[str, float]:
        lq, gt = batch['lq'], batch['gt']
        optimizers[0].zero_grad()
        restored = net_g(lq)
        fake, real = judge(lq, restored, gt)
        losses = {'l_g_pix': pixel(restored, gt), 'l_g_gan': gan(fake, True), 'l_g_feat': feature(fake, real)}
        sum(losses.values()).backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        with torch.no_grad():
            restored = net_g(lq)
        fake, real = judge(lq, restored, gt)
        ((gan(real, True, is_disc=True) + gan(fake, False, is_disc=True)) / 2).backward()
        optimizers[1].step()
        return {name: loss.item() for name, loss in losses.items()}

    return step


def race(sides: dict[str, Callable], batches: list[dict]) -> tuple[dict[str, float], dict[str, list]]:
    """Run all sides in turn on each batch; return their median seconds and their losses."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    losses: dict[str, list] = {name: [] for name in sides}
    for batch in batches:
        for name, step in sides.items():
            start = time.perf_counter()
            losses[name].append(step(batch))
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[2:]) for name, values in seconds.items()}, losses


def freeze_spectral_norm(network: nn.Module) -> None:
    """Stop forward passes of a BasicSR network from updating its spectral norms."""
    for module in network.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                hook.n_power_iterations = 0


def report(title: str, medians: dict[str, float]) -> None:
    """Print the seconds of all sides and their speed relative to the first one."""
    base = next(iter(medians.values()))
    print(f'\n| {title} | s / iteration | ratio |\n|---|---:|---:|')
    for name, median in medians.items():
        print(f'| {name} | {median:.3f} | {base / median:.2f} |')


def report_agreement(title: str, losses: dict[str, list]) -> None:
    """Print the last losses of both sides and their largest difference."""
    host, ours = losses.values()
    print(f'\n| losses, {title} | BasicSR, last | ours, last | largest difference in {len(host)} iterations |')
    print('|---|---:|---:|---:|')
    for name in host[0]:
        difference = max(abs(a[name] - b[name]) for a, b in zip(host, ours, strict=True))
        print(f'| {name} | {host[-1][name]:.5f} | {ours[-1][name]:.5f} | {difference:.1e} |')


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--num-feat', type=int, default=32, help='width of the generators (default: 32)')
    parser.add_argument('--num-feat-d', type=int, default=64, help='width of the discriminators (default: 64)')
    parser.add_argument('--size', type=int, default=128, help='side of the crops (default: 128)')
    parser.add_argument('--batch', type=int, default=2, help='images in a batch (default: 2)')
    parser.add_argument('--iterations', type=int, default=20, help='iterations of each side (default: 20)')
    parser.add_argument('--threads', type=int, default=2, help='threads of torch (default: 2)')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger('basicsr').setLevel(logging.WARNING)

    shape = (arguments.batch, 3, arguments.size, arguments.size)
    generator = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(arguments.iterations):
        truth = nn.functional.interpolate(torch.rand(shape, generator=generator), scale_factor=8)
        truth = truth[..., : arguments.size, : arguments.size]
        noise = 0.1 * torch.randn(shape, generator=generator)
        batches.append({'lq': (truth + noise).clamp(0, 1), 'gt': truth})

    host_networks = {
        'network_g': {
            'type': 'HiFaceGAN',
            'num_feat': arguments.num_feat,
            'norm_g': 'spectralspadebatch3x3',
            'is_train': False,
            'crop_size': arguments.size,
        },
        'network_d': {'type': 'HiFaceGANDiscriminator', 'num_feat': arguments.num_feat_d},
    }
    fast = {'channels_last': True}
    sides = {
        "host's HiFaceGANModel": as_step(model('HiFaceGANModel', host_networks)),
        'HiFaceGANCSRModel': as_step(model('HiFaceGANCSRModel', host_networks)),
        '... bf16': as_step(model('HiFaceGANCSRModel', host_networks, amp='bf16')),
        '... channels_last': as_step(model('HiFaceGANCSRModel', host_networks, **fast)),
        '... channels_last, bf16': as_step(model('HiFaceGANCSRModel', host_networks, amp='bf16', **fast)),
    }
    medians, losses = race(sides, batches)
    report("the host's networks", medians)
    with_spectral_norm = dict(list(losses.items())[:2])

    csr = {
        'network_g': {'type': 'CSRGenerator', 'num_feat': arguments.num_feat},
        'network_d': {'type': 'MultiscalePatchDiscriminator', 'num_feat': arguments.num_feat_d},
    }
    plain = model('HiFaceGANCSRModel', csr)
    sides = {
        "the reference's update": reference_step(plain.net_g, plain.net_d),
        'HiFaceGANCSRModel': as_step(model('HiFaceGANCSRModel', csr)),
        '... bf16': as_step(model('HiFaceGANCSRModel', csr, amp='bf16')),
        '... channels_last': as_step(model('HiFaceGANCSRModel', csr, **fast)),
        '... channels_last, bf16': as_step(model('HiFaceGANCSRModel', csr, amp='bf16', **fast)),
    }
    medians, _ = race(sides, batches)
    report('the CSR network', medians)

    report_agreement('BasicSR updates the spectral norm twice', with_spectral_norm)
    sides = {}
    for kind in ('HiFaceGANModel', 'HiFaceGANCSRModel'):
        by_sgd = {f'optim_{network}': {'type': 'SGD', 'lr': 1e-4} for network in 'gd'}
        trained = model(kind, host_networks, **by_sgd)
        freeze_spectral_norm(trained.net_d)
        sides[kind] = as_step(trained)
    report_agreement('frozen spectral norm, SGD', race(sides, batches)[1])


if __name__ == '__main__':
    main()
