"""Tests of how often, and how many bytes, processes exchange per iteration, as stated in docs/many_gpus.md."""

import copy
import json
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from conftest import REPOSITORY
from host_training import run
from small_training import OPTIONS, batch, built

from hifacegan_plugin.archs import CSRGenerator, MultiscalePatchDiscriminator

NORMALISATIONS = 14  # normalization layers of the paper's generator: two in each of seven blocks
WIDTH_NORMALISED = 141  # total number of their channels, in units of num_feat
PAGE = REPOSITORY / 'docs/many_gpus.md'


def count_exchanges(norm: str, checkpointing: bool, amp: str, folder: str) -> dict[str, list[int]]:
    """Train two iterations in this process of several; return the bytes of each exchange in the second iteration."""
    opt = copy.deepcopy(OPTIONS)
    opt |= {'dist': True, 'rank': dist.get_rank(), 'world_size': dist.get_world_size()}
    opt['path'] = {'models': folder, 'training_states': folder}
    opt['network_g']['norm'] = norm
    opt['train'] |= {'gradient_checkpointing': checkpointing, 'amp': amp}
    model = built(opt)
    sent = {'all_reduce': [], 'g': [], 'd': []}
    all_reduce = dist.all_reduce

    def counted(x, *args, **kwargs):
        sent['all_reduce'].append(x.nbytes)
        return all_reduce(x, *args, **kwargs)

    def counting(network):
        def hook(_, bucket):
            sent[network].append(bucket.buffer().nbytes)
            exchange = all_reduce(bucket.buffer().div_(dist.get_world_size()), async_op=True)
            return exchange.get_future().then(lambda done: done.value()[0])

        return hook

    model.net_g.register_comm_hook(None, counting('g'))
    model.net_d.register_comm_hook(None, counting('d'))
    with mock.patch.object(dist, 'all_reduce', counted):
        for iteration in (1, 2):
            for counts in sent.values():
                counts.clear()
            model.feed_data(batch(iteration))
            model.optimize_parameters(iteration)
    return sent


# Norm, gradient checkpointing, amp, and how often each normalisation layer exchanges statistics in an iteration.
SETTINGS = [('batch', False, 'none', 0), ('syncbatch', False, 'bf16', 2), ('syncbatch', True, 'none', 3)]


@pytest.fixture(scope='module')
def exchanged(tmp_path_factory) -> list[list[dict[str, list[int]]]]:
    """The exchanges of two processes with each of the settings, as each process counted them."""
    folder = tmp_path_factory.mktemp('exchanged')
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    run([*torchrun, __file__, folder], REPOSITORY / 'tests')
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in (0, 1)]


@pytest.mark.parametrize('setting', range(len(SETTINGS)), ids=[' '.join(map(str, each)) for each in SETTINGS])
def test_exchanged_bytes_of_two_processes_equal_those_in_the_docs(setting, exchanged):
    passes = SETTINGS[setting][-1]
    counts, in_the_other = (process[setting] for process in exchanged)
    assert counts == in_the_other
    *statistics, losses = counts['all_reduce']
    assert len(statistics) == passes * NORMALISATIONS
    assert sum(statistics) == passes * 2 * 2 * 4 * WIDTH_NORMALISED * OPTIONS['network_g']['num_feat']
    assert losses == 4 * 6  # five losses, and whether a process was asked to stop
    networks = {'g': CSRGenerator(num_feat=4), 'd': MultiscalePatchDiscriminator(num_feat=4, n_layers_d=3)}
    for name, network in networks.items():
        assert sum(counts[name]) == bytes_of(network.parameters())


def bytes_of(tensors):
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize(
    ('network', 'options'),
    [
        (CSRGenerator, {'num_feat': 64}),
        (CSRGenerator, {'num_feat': 48}),
        (CSRGenerator, {'num_feat': 64, 'variant': 'lip_spade'}),
        (CSRGenerator, {'num_feat': 64, 'variant': 'spade'}),
        (CSRGenerator, {'num_feat': 16, 'preset': 'fast'}),
        (CSRGenerator, {'num_feat': 32, 'preset': 'fast', 'num_scales': 4}),
        (CSRGenerator, {'num_feat': 24, 'preset': 'fast', 'num_scales': 5}),
        (MultiscalePatchDiscriminator, {'num_feat': 64}),
        (MultiscalePatchDiscriminator, {'num_feat': 48}),
    ],
)
def test_sizes_of_networks_in_the_docs(network, options):
    with torch.device('meta'):
        built_network = network(**options)
    gradients, buffers = bytes_of(built_network.parameters()), bytes_of(built_network.buffers())
    assert f'| {gradients / 1e6:.1f} MB | {buffers / 1e6:.2f} MB |' in PAGE.read_text()


# Bytes per second in each direction, and latency in seconds, of NVLink 4 and of networks with 400, 100 and 10 Gb/s.
LINKS = ((450e9, 20e-6), (50e9, 100e-6), (12.5e9, 100e-6), (1.25e9, 100e-6))
ITERATION = 53e-3  # seconds


def remaining_speed(gradients, gpus, link, accumulated=1):
    """Return the speed of several GPUs relative to the sum of their individual speeds, by the formula in the docs."""
    rate, latency = link
    exchange = 2 * gradients * (gpus - 1) / gpus / rate
    alone = accumulated * ITERATION
    lost = max(0, exchange - 2 / 3 * ITERATION) + accumulated * 2 * NORMALISATIONS * latency
    return f'{alone / (alone + lost):.0%}'.replace('%', ' %')


def test_remaining_speed_in_the_docs():
    page = PAGE.read_text()
    with torch.device('meta'):
        networks = CSRGenerator(), MultiscalePatchDiscriminator()
    gradients = sum(bytes_of(network.parameters()) for network in networks)
    for gpus in (2, 8, 64):
        shares = [remaining_speed(gradients, gpus, link) for link in LINKS]
        assert f'| {gpus} | {" | ".join(shares)} |' in page
    assert f'8 GPUs keep {remaining_speed(gradients, 8, LINKS[2], accumulated=4)}' in page
    assert f'8 GPUs keep {remaining_speed(gradients, 8, LINKS[3], accumulated=16)}' in page


if __name__ == '__main__':
    folder = Path(sys.argv[1])
    dist.init_process_group('gloo')
    counts = [count_exchanges(norm, checkpointing, amp, str(folder)) for norm, checkpointing, amp, _ in SETTINGS]
    (folder / f'{dist.get_rank()}.json').write_text(json.dumps(counts))
    dist.destroy_process_group()
