"""The accommodations of the host: what they change, and that they leave alone what they are not for."""

import logging
import os
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import basicsr.train
import pytest
import torch
from basicsr.data import build_dataloader
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.prefetch_dataloader import CPUPrefetcher
from basicsr.utils.options import parse_options
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from conftest import REPOSITORY

from hifacegan_plugin import host
from hifacegan_plugin.system.random_state import random_state

NAMES = {
    ARCH_REGISTRY: ['CSRGenerator', 'MultiscalePatchDiscriminator'],
    DATASET_REGISTRY: ['DegradationDataset'],
    LOSS_REGISTRY: ['FeatureMatchingLoss', 'GANFeatLoss'],
    MODEL_REGISTRY: ['HiFaceGANCSRModel'],
    METRIC_REGISTRY: ['calculate_msssim', 'calculate_lpips', 'calculate_fed', 'calculate_lle'],
}


class Drawing:
    """A data set of ten pictures that wants to know its draws."""

    epoch = None

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        return index

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


@pytest.fixture(autouse=True)
def not_resumed(monkeypatch):
    monkeypatch.setattr(host, '_resumed_at', {})


def test_all_names_are_registered_and_a_second_time_does_no_harm():
    host.register()
    for registry, names in NAMES.items():
        assert [name for name in names if name not in registry] == []


def test_accommodations_are_applied_once():
    before = basicsr.train.load_resume_state, EnlargedSampler.__iter__, torch.load
    host.accommodate()
    host.accommodate()
    assert (basicsr.train.load_resume_state, EnlargedSampler.__iter__, torch.load) == before


@pytest.mark.parametrize('processes', [1, 3])
def test_a_drawing_data_set_gets_every_draw_of_the_epoch_once(processes):
    dataset = Drawing()
    draws = []
    for rank in range(processes):
        sampler = EnlargedSampler(dataset, processes, rank, ratio=4)
        sampler.set_epoch(2)
        draws += list(sampler)
    assert dataset.epoch == 2
    assert sorted(draws) == list(range(-(-40 // processes) * processes))


def test_an_options_file_may_list_several_roots(monkeypatch, tmp_path):
    file = tmp_path / 'options.yml'
    file.write_text((REPOSITORY / 'options/hifacegan_demo.yml').read_text().replace(
        'dataroot_gt: datasets/demo/train.lmdb', 'dataroot_gt: [~/a.lmdb, b.lmdb]'
    ))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    opt, _ = parse_options(str(tmp_path))
    assert opt['datasets']['train']['dataroot_gt'] == [str(Path.home() / 'a.lmdb'), 'b.lmdb']
    assert opt['datasets']['val']['dataroot_gt'] == 'datasets/demo/heldout.lmdb'


def test_other_data_sets_get_the_hosts_indices():
    sampler = EnlargedSampler(range(10), 1, 0, ratio=4)
    sampler.set_epoch(1)
    generator = torch.Generator().manual_seed(1)
    assert list(sampler) == [v % 10 for v in torch.randperm(40, generator=generator).tolist()]


@pytest.mark.parametrize(('iteration', 'epoch', 'left'), [(0, 0, 40), (3, 0, 28), (10, 0, 0), (10, 1, 40), (13, 1, 28)])
def test_a_resumed_epoch_goes_on_where_it_stopped(iteration, epoch, left, monkeypatch):
    sampler = EnlargedSampler(Drawing(), 1, 0, ratio=4)
    sampler.set_epoch(epoch)
    whole = list(sampler)
    monkeypatch.setattr(host, '_resumed_at', {'epoch': epoch, 'iteration': iteration, 'batch_size': 4})
    assert list(sampler) == whole[40 - left :]
    sampler.set_epoch(epoch + 1)
    assert len(list(sampler)) == 40


def test_a_resumed_epoch_begins_anew_where_batch_or_data_changed(monkeypatch):
    sampler = EnlargedSampler(Drawing(), 1, 0, ratio=4)
    monkeypatch.setattr(host, '_resumed_at', {'epoch': 0, 'iteration': 30, 'batch_size': 4})
    assert len(list(sampler)) == 40


def numbers_drawn(prefetcher: CPUPrefetcher, sampler: EnlargedSampler, epoch: int) -> Iterator[float]:
    """Draw a number for every batch of an epoch that the host's training loop gets."""
    sampler.set_epoch(epoch)
    prefetcher.reset()
    while prefetcher.next() is not None:
        yield torch.rand(()).item()


def create_loaders(monkeypatch, batch_size: int) -> tuple:
    """Let the host build the loader of ten pictures for a training of forty iterations."""
    monkeypatch.setattr(basicsr.train, 'build_dataset', lambda options: Drawing())
    options = {'phase': 'train', 'num_worker_per_gpu': 0, 'batch_size_per_gpu': batch_size}
    opt = {'datasets': {'train': options}, 'world_size': 1, 'rank': 0, 'num_gpu': 0, 'dist': False, 'manual_seed': 0,
           'train': {'total_iter': 40}}
    return basicsr.train.create_train_val_dataloader(opt, logging.getLogger())


@pytest.mark.parametrize('resumed_at', [
    {},
    {'epoch': 18, 'iteration': 37, 'batch_size': 4},
    {'epoch': 4, 'iteration': 20, 'batch_size': 4},  # in which another batch was
], ids=str)
def test_a_training_comes_to_its_last_iteration(resumed_at, monkeypatch):
    monkeypatch.setattr(host, '_resumed_at', resumed_at)
    loader, sampler, _, epochs, _ = create_loaders(monkeypatch, batch_size=4)
    iterations = [resumed_at.get('iteration', 0)]
    for epoch in range(resumed_at.get('epoch', 0), epochs + 1):  # as the host's training loop does
        sampler.set_epoch(epoch)
        iterations.append(iterations[-1] + len(list(loader)))
    assert iterations[-1] >= 40 > iterations[-3]


def test_too_few_pictures_for_a_batch_are_told(monkeypatch):
    with pytest.raises(ValueError, match=r'10 draws an epoch .* do not fill a batch of 11: raise dataset_enl'):
        create_loaders(monkeypatch, batch_size=11)


@pytest.mark.parametrize('epoch', [0, 1])
@pytest.mark.parametrize('workers', [0, 1])
def test_a_resumed_training_draws_the_numbers_of_an_uninterrupted_one(workers, epoch, monkeypatch):
    opt = {'phase': 'train', 'num_worker_per_gpu': workers, 'batch_size_per_gpu': 2}

    def start() -> tuple[CPUPrefetcher, EnlargedSampler]:
        sampler = EnlargedSampler(Drawing(), 1, 0)
        return CPUPrefetcher(build_dataloader(sampler.dataset, opt, sampler=sampler, seed=0)), sampler

    uninterrupted = start()
    for earlier in range(epoch):
        assert len(list(numbers_drawn(*uninterrupted, earlier))) == 5
    numbers = numbers_drawn(*uninterrupted, epoch)
    for _ in range(2):
        next(numbers)
    state = {'epoch': epoch, 'iteration': 5 * epoch + 2, 'batch_size': 2, 'random_state': random_state()}
    rest = list(numbers)
    monkeypatch.setattr(host, '_resumed_at', state)
    assert list(numbers_drawn(*start(), epoch)) == rest
    assert len(rest) == 3


class Numbers(torch.utils.data.Dataset):
    """A data set of forty numbers, one of which cannot be read where asked."""

    def __init__(self, unreadable: int | None = None) -> None:
        self.unreadable = unreadable

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> int:
        if index == self.unreadable:
            raise ValueError(f'number {index} cannot be read')
        return index


def prefetching(dataset: Numbers) -> CPUPrefetcher:
    """Build what the host's training loop iterates over with these options."""
    opt = {'phase': 'train', 'num_worker_per_gpu': 2, 'batch_size_per_gpu': 1, 'prefetch_mode': 'cpu',
           'persistent_workers': True}
    return CPUPrefetcher(build_dataloader(dataset, opt, sampler=EnlargedSampler(dataset, 1, 0), seed=0))


def test_an_unfinished_prefetching_ends_before_the_next_begins():
    prefetcher = prefetching(Numbers())
    for _ in range(3):
        prefetcher.reset()
        prefetcher.next()
    last = prefetcher.loader
    prefetcher.reset()
    assert not last.is_alive()
    seen = []
    while (batch := prefetcher.next()) is not None:
        seen.append(batch.item())
    assert sorted(seen) == list(range(40))


def test_an_error_behind_the_prefetching_reaches_the_trainer():
    prefetcher = prefetching(Numbers(unreadable=7))
    with pytest.raises(ValueError, match='number 7 cannot be read'):
        while prefetcher.next() is not None:
            pass


def test_workers_that_are_to_stay_need_not_be_any():
    dataset = torch.utils.data.TensorDataset(torch.arange(4))
    opt = {'phase': 'train', 'num_worker_per_gpu': 0, 'batch_size_per_gpu': 2, 'persistent_workers': True}
    loader = basicsr.train.build_dataloader(dataset, opt, num_gpu=0)
    assert [len(batch) for (batch,) in loader] == [2, 2]
    assert opt['persistent_workers']


@pytest.mark.parametrize(('text', 'value'), [
    ('1e-5', 1e-5), ('-1', -1), ('+2.5E3', 2500.0), ('.5', 0.5), ('7', 7), ('1e-5x', '1e-5x'), ('1.2.3', '1.2.3'),
    ('00001.png', '00001.png'), ('-', '-'), ('~', None), ('[1e-3, 2]', [1e-3, 2]),
])
def test_numbers_on_the_command_line_are_numbers(text, value, monkeypatch):
    file = REPOSITORY / 'options/hifacegan_demo.yml'
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file), '--force_yml', f'train:ema_decay={text}'])
    read = parse_options('.')[0]['train']['ema_decay']
    assert (read, type(read)) == (value, type(value))


def test_debugging_needs_no_validation(monkeypatch, tmp_path):
    file = tmp_path / 'options.yml'
    text = (REPOSITORY / 'options/hifacegan_demo.yml').read_text()
    file.write_text(text.replace('\nval:\n', '\nval: ~\nunused:\n'))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file), '--debug'])
    opt, _ = parse_options(str(tmp_path))
    assert 'val' not in opt
    assert opt['logger']['save_checkpoint_freq'] == 8


@pytest.mark.parametrize('launcher', ['train', 'test'])
def test_the_launchers_name_an_options_file_that_is_missing(launcher, tmp_path):
    command = [sys.executable, '-m', f'hifacegan_plugin.{launcher}', '-opt', 'opitons.yml']
    result = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False,
                            env=os.environ | {'PYTHONPATH': str(REPOSITORY)})
    assert (result.returncode, result.stderr) == (1, '-opt opitons.yml: there is no such file.\n')


def test_a_wandb_that_draws_no_ids_is_given_one(monkeypatch):
    begun = {}
    wandb = types.ModuleType('wandb')
    wandb.util = types.ModuleType('wandb.util')
    wandb.init = lambda **options: begun.update(options)
    monkeypatch.setitem(sys.modules, 'wandb', wandb)
    basicsr.train.init_wandb_logger({'name': 'mine', 'rank': 0, 'logger': {'wandb': {'project': 'faces'}}})
    assert begun['project'] == 'faces'
    assert len(begun['id']) == 8


@pytest.mark.parametrize(('missing', 'mend'), [
    ('torchvision.transforms.functional_tensor', 'pip uninstall basicsr'),
    ('basicsr', 'pip install basicsr-fixed'),
])
def test_a_host_that_cannot_be_imported_is_explained(missing, mend, monkeypatch):
    class Breaks:
        def find_spec(self, name, *_):
            if name == 'basicsr':
                raise ModuleNotFoundError(f'No module named {missing!r}', name=missing)

    monkeypatch.setattr(sys, 'meta_path', [Breaks(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, 'basicsr')
    with pytest.raises(ImportError, match=mend):
        host.register()


def test_importing_the_plugin_imports_no_package_that_only_some_tasks_need():
    """Such as mmcv, OpenVINO or Matplotlib, which take seconds: beside the host, it needs what is imported first."""
    probe = """
import sys, basicsr, lmdb, mmengine, PIL, safetensors
packages = {name.partition('.')[0] for name in sys.modules}
import hifacegan_plugin
print({name.partition('.')[0] for name in sys.modules} - packages - sys.stdlib_module_names)
"""
    assert subprocess.check_output([sys.executable, '-c', probe], text=True).strip() == "{'hifacegan_plugin'}"


def test_the_command_starts_without_the_host():
    code = "import sys; print([name for name in ('basicsr', 'torchvision', 'torch') if name in sys.modules])"
    probe = f'import sys; import hifacegan_plugin.__main__; {code}'
    assert subprocess.check_output([sys.executable, '-c', probe], text=True).strip() == '[]'


@pytest.mark.parametrize('module', ['hifacegan_plugin', 'hifacegan_plugin.weights', 'hifacegan_plugin.restore'])
def test_the_host_is_not_imported_where_it_is_not_needed(module, tmp_path):
    (tmp_path / 'basicsr.py').write_text('raise SystemExit("the host")')
    code = f'import {module}, sys; print("basicsr" in sys.modules)'
    environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(tmp_path), str(REPOSITORY)])}
    assert subprocess.check_output([sys.executable, '-c', code], text=True, env=environment).strip() == 'False'


def test_the_plugin_may_be_imported_before_the_host():
    code = """
import hifacegan_plugin, sys
assert 'basicsr' not in sys.modules
hifacegan_plugin.register()
from basicsr.utils.registry import ARCH_REGISTRY
print('CSRGenerator' in ARCH_REGISTRY)
"""
    assert subprocess.check_output([sys.executable, '-c', code], text=True).strip() == 'True'


@pytest.mark.parametrize('ending', ['', 'raise SystemExit', 'raise ValueError("on purpose")'])
def test_a_process_leaves_its_group_unless_it_ends_with_an_error(ending):
    code = f"""
import atexit
import torch.distributed as dist
atexit.register(lambda: print('group left:', not dist.is_initialized()))
from basicsr.utils.dist_util import init_dist
import hifacegan_plugin
init_dist('pytorch')
assert dist.get_backend() == 'gloo'
{ending}
"""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    alone = {'RANK': '0', 'WORLD_SIZE': '1', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
    result = subprocess.run([sys.executable, '-c', code], env=os.environ | alone, text=True,
                            capture_output=True, check=False)
    failed = 'on purpose' in result.stderr
    assert failed == (result.returncode != 0) == ('ValueError' in ending), result.stderr
    assert f'group left: {not failed}' in result.stdout


@pytest.mark.parametrize('installed', [True, False])
def test_tensorboard_files_stay_out_of_the_folder_that_the_host_is_installed_in(installed, tmp_path, monkeypatch):
    """As by ``pip install --target``; a clone of the host is the root that the host takes it for."""
    root = tmp_path / 'packages'
    (root / ('basicsr_fixed-1.4.2.dist-info' if installed else 'options')).mkdir(parents=True)
    train = types.SimpleNamespace(
        __file__=str(root / 'basicsr/train.py'), init_tb_logger=lambda log_dir: log_dir,
        mkdir_and_rename=lambda path: path,
    )
    monkeypatch.setattr(host, '_host_modules', lambda pipeline: [train])
    monkeypatch.chdir(tmp_path)
    host.keep_tensorboard_out_of_site_packages()
    assert train.mkdir_and_rename(f'{root}/tb_logger/mine') == str((tmp_path if installed else root) / 'tb_logger/mine')
