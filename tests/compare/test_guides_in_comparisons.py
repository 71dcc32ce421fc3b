"""Tests of comparisons with restorers that take a guide."""

import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from torch import nn

from hifacegan_plugin.archs import GuidedRestorer
from hifacegan_plugin.compare import worker
from hifacegan_plugin.compare.folder import Folder, read_json, read_log
from hifacegan_plugin.compare.image_sets import digest_files, open_test_set, write_test_set
from hifacegan_plugin.compare.job import Job


@pytest.fixture
def guided(tmp_path) -> str:
    """Weights of a network with an output that depends on the guide."""
    torch.manual_seed(0)
    network = GuidedRestorer(num_feat=4)
    nn.init.normal_(network.reconstruction.tail.weight, std=0.1)
    described = {'type': 'GuidedRestorer', 'num_feat': 4}
    torch.save({'params': network.state_dict(), 'network_g': described}, tmp_path / 'guided.pth')
    return str(tmp_path / 'guided.pth')


def test_restorers_get_guides_and_report_missing_ones(tmp_path, small_lmdb, guided):
    plain = {
        'type': 'DegradationDataset', 'dataroot_gt': str(small_lmdb), 'io_backend': {'type': 'lmdb'},
        'degradation': 'noise', 'resize': [64, 64],
    }  # fmt: skip
    folder, images = Folder(tmp_path / 'out'), {}
    for name, options in {'plain': plain, 'with guides': plain | {'guide': {}}}.items():
        images[name] = write_test_set(open_test_set(name, options), folder).images
    made_from = {name: {'weights': guided} for name in images}
    worker.restore(Job('guided', {'pretrain_network_g': guided}, folder, images, made_from))
    assert read_json(folder.summary('guided'))['gflop'] > 0
    failed = read_log(folder.log('plain', 'guided', 'restored'), made_from['plain'])
    assert len(failed) == len(images['plain']) == 6
    assert {record['error'] for record in failed} == {
        'the network takes a guide, and plain has none: set guide: {} in its options'
    }
    item = build_dataset({'name': 'x', 'phase': 'test', 'scale': 1, **plain, 'guide': {}})[0]
    network = GuidedRestorer(num_feat=4).eval()
    network.load_state_dict(torch.load(guided)['params'])
    with torch.no_grad():
        expected = network(item['lq'][None], item['guide'][None])[0].clamp(0, 1).mul(255).permute(1, 2, 0).numpy()
    restored = Folder(tmp_path / 'out').read_image('with guides', 'guided', item['name'])
    assert np.abs(restored - expected).max() < 1


def test_resuming_with_other_guides_starts_over(tmp_path):
    pairs = tmp_path / 'pairs.txt'
    pairs.write_text('a\tb\n')
    options = {'guide': {'person': '(.)', 'list_file': str(pairs)}}
    before = digest_files(options)
    assert digest_files(options) == before
    pairs.write_text('a\tb\nb\ta\n')
    assert digest_files(options) != before
