"""Tests of the host's commands on a CPU, with small demo options."""

import re
import sys
import sysconfig
from pathlib import Path

import basicsr
import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from basicsr.utils import tensor2img
from basicsr.utils.options import yaml_load
from conftest import REPOSITORY
from host_training import DEMO, logged, run, small
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hifacegan_plugin.weights import load_generator

SITE_PACKAGES = Path(sysconfig.get_paths()['purelib'])

# A module next to the options file: a model that also writes the final state of its process.
WITNESS = """
import torch
from pathlib import Path
from basicsr.utils.registry import MODEL_REGISTRY
from hifacegan_plugin.models import HiFaceGANCSRModel

__version__ = 'witness'


@MODEL_REGISTRY.register()
class WitnessModel(HiFaceGANCSRModel):
    def save(self, epoch, current_iter):
        super().save(epoch, current_iter)
        networks = {'g': self.net_g, 'd': self.net_d, 'ema': self.net_g_ema}
        states = {name: self.get_bare_model(network).state_dict() for name, network in networks.items()}
        torch.save({**states, 'batch': self.gt}, f'rank{self.opt["rank"]}.pth')

    def nondist_validation(self, dataloader, *arguments):
        super().nondist_validation(dataloader, *arguments)
        Path(f'validated{self.opt["rank"]}').touch()
"""


@pytest.fixture(scope='module')
def trained(small_lmdb, tmp_path_factory) -> tuple[Path, str, set[str]]:
    """A folder after four iterations of ``python -m basicsr.train``, the output, and new files in site-packages."""
    folder = tmp_path_factory.mktemp('trained')
    before = {path.name for path in SITE_PACKAGES.iterdir()}
    output = run([sys.executable, '-m', 'basicsr.train', '-opt', DEMO, *small(small_lmdb, 4)], folder)
    return folder, output, {path.name for path in SITE_PACKAGES.iterdir()} - before


def test_training_completes(trained):
    folder, output, _ = trained
    assert logged(output) == {1: '1.000e-03', 2: '1.000e-03', 3: '7.500e-04', 4: '5.000e-04'}
    assert 'plugin: ' in output  # the version is logged with the options
    assert re.findall(r'(\d) of 4 iterations, [\d.e+]+ images/s, [\d.]+ GiB at most', output) == ['1', '2', '3', '4']
    assert output.count('# psnr: ') == 3  # in iterations 2 and 4, and at the end
    models = {path.name for path in (folder / 'experiments/HiFaceGAN_demo/models').iterdir()}
    assert models == {f'net_{network}_{label}.pth' for network in 'gd' for label in (2, 4, 'latest')}


def test_all_files_are_written_to_the_current_folder(trained):
    folder, _, gained = trained
    assert gained <= {'__pycache__'}
    assert {path.name for path in folder.iterdir()} == {'experiments', 'tb_logger'}
    assert list((folder / 'tb_logger/HiFaceGAN_demo').glob('events.*'))


def test_tensorboard_shows_losses_metrics_and_images(trained, small_lmdb):
    folder, output, _ = trained
    events = EventAccumulator(str(folder / 'tb_logger/HiFaceGAN_demo'), size_guidance={'images': 0}).Reload()

    def in_the_log(name: str) -> list[float]:
        return [float(value) for value in re.findall(rf'\b{name}: ([\d.e+-]+)', output)]

    for loss in ('l_g_pix', 'l_g_gan', 'l_g_feat', 'l_d_real', 'l_d_fake'):
        scalars = events.Scalars(f'losses/{loss}')
        assert [scalar.step for scalar in scalars] == [1, 2, 3, 4]
        assert [scalar.value for scalar in scalars] == pytest.approx(in_the_log(loss), rel=1e-3)
    for metric in ('psnr', 'ssim'):
        scalars = events.Scalars(f'metrics/demo_heldout/{metric}')
        assert [scalar.step for scalar in scalars] == [2, 4, 4]  # again at the end
        assert [scalar.value for scalar in scalars] == pytest.approx(in_the_log(metric), abs=1e-4)

    assert sorted(events.Tags()['images']) == [f'demo_heldout/{i:05d}' for i in range(4)]
    options = yaml_load(str(DEMO))['datasets']['val']
    pairs = build_dataset({**options, 'dataroot_gt': str(small_lmdb), 'phase': 'val', 'scale': 1})
    network = load_generator(folder / 'experiments/HiFaceGAN_demo/models/net_g_4.pth')
    for i in range(4):
        sheets = {image.step: image for image in events.Images(f'demo_heldout/{i:05d}')}
        assert list(sheets) == [2, 4]
        sheet = cv2.imdecode(np.frombuffer(sheets[4].encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
        with torch.no_grad():
            restored = network(pairs[i]['lq'][None])
        for part, expected in zip(np.hsplit(sheet, 3), (pairs[i]['lq'], restored, pairs[i]['gt']), strict=True):
            assert np.abs(part.astype(int) - tensor2img(expected)).max() <= 1


def test_the_hosts_script_gives_the_same_result(trained, small_lmdb, tmp_path):
    folder, output, _ = trained
    script = Path(basicsr.__file__).parent / 'train.py'
    again = run([sys.executable, script, '-opt', DEMO, *small(small_lmdb, 2)], tmp_path)
    assert logged(again) == {n: rate for n, rate in logged(output).items() if n <= 2}
    networks = [torch.load(place / 'experiments/HiFaceGAN_demo/models/net_g_2.pth') for place in (folder, tmp_path)]
    for key, value in networks[0]['params_ema'].items():
        torch.testing.assert_close(networks[1]['params_ema'][key], value)


def test_the_plugins_launcher_gives_the_same_result(small_lmdb, tmp_path):
    command = [sys.executable, '-m', 'hifacegan_plugin.train', '-opt', DEMO, *small(small_lmdb, 2)]
    assert list(logged(run(command, tmp_path))) == [1, 2]
    assert {path.name for path in tmp_path.iterdir()} == {'experiments', 'tb_logger'}


PREFETCHING = {
    'datasets__train__num_worker_per_gpu': 2,
    'datasets__train__persistent_workers': True,
    'datasets__train__prefetch_mode': 'cpu',
}


def test_persistent_workers_give_the_same_result(trained, small_lmdb, tmp_path):
    folder, output, _ = trained
    command = [sys.executable, '-m', 'basicsr.train', '-opt', DEMO, *small(small_lmdb, 4, **PREFETCHING)]
    assert logged(run(command, tmp_path)) == logged(output)
    networks = [torch.load(place / 'experiments/HiFaceGAN_demo/models/net_g_4.pth') for place in (folder, tmp_path)]
    for key, value in networks[0]['params'].items():
        torch.testing.assert_close(networks[1]['params'][key], value, atol=1e-5, rtol=0)


def test_auto_resume_continues_the_training(trained, small_lmdb, tmp_path):
    folder, output, _ = trained
    command = [sys.executable, '-m', 'basicsr.train', '-opt', DEMO]
    run([*command, *small(small_lmdb, 2)], tmp_path)
    resumed = run([*command, '--auto_resume', *small(small_lmdb, 4)], tmp_path)
    assert 'Resuming training from epoch: 0, iter: 2.' in resumed
    assert logged(resumed) == {n: rate for n, rate in logged(output).items() if n > 2}
    states = [torch.load(place / 'experiments/HiFaceGAN_demo/training_states/4.state') for place in (folder, tmp_path)]
    for uninterrupted, after in zip(*(state['optimizers'] for state in states), strict=True):
        assert {s['step'].item() for s in after['state'].values()} == {4}
        assert after['param_groups'] == uninterrupted['param_groups']
    assert states[1]['schedulers'] == states[0]['schedulers']
    uninterrupted, after = (
        torch.load(place / 'experiments/HiFaceGAN_demo/models/net_g_4.pth') for place in (folder, tmp_path)
    )
    for label in ('params', 'params_ema'):
        for key, value in uninterrupted[label].items():  # the rest of the epoch had the same images
            torch.testing.assert_close(after[label][key], value, atol=1e-5, rtol=0)


def test_two_processes_end_with_the_same_weights(small_lmdb, tmp_path):
    (tmp_path / 'witness.py').write_text(WITNESS)
    options = tmp_path / 'demo.yml'
    options.write_text(DEMO.read_text() + '\nwitness: !!python/name:witness.__version__\n')
    command = [
        sys.executable,
        '-m',
        'torch.distributed.run',
        '--nproc_per_node=2',
        '--master_port=29731',
        '-m',
        'basicsr.train',
        '-opt',
        options,
        '--launcher',
        'pytorch',
        *small(small_lmdb, 3, model_type='WitnessModel'),
    ]
    output = run(command, tmp_path)
    assert 'World size (gpu number): 2' in output
    first, second = (torch.load(tmp_path / f'rank{rank}.pth') for rank in (0, 1))
    assert not torch.equal(first.pop('batch'), second.pop('batch'))  # the processes have different data
    for network, state in first.items():
        for key, value in state.items():
            assert torch.equal(second[network][key], value), f'{network}: {key}'
    assert (tmp_path / 'validated0').exists()
    assert output.count('# psnr: ') == 2  # only the first process logs values


def test_testing_restores_images_and_computes_metrics(trained, small_lmdb):
    folder, _, _ = trained
    command = [sys.executable, '-m', 'basicsr.test', '-opt', REPOSITORY / 'options/test_hifacegan_demo.yml']
    overrides = [f'datasets:test:dataroot_gt={small_lmdb}', 'network_g:num_feat=4']
    output = run([*command, '--force_yml', *overrides], folder)
    assert '# psnr: ' in output
    assert 'lpips' in output
    restored = list((folder / 'results/HiFaceGAN_demo_test/visualization/demo_heldout').glob('*.png'))
    assert len(restored) == 6
