"""Tests of registration, imports and the table of workarounds."""

import os
import re
import subprocess
import sys
import types
from importlib import import_module
from pkgutil import iter_modules

import basicsr.train
import pytest
import torch
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from conftest import REPOSITORY

from hifacegan_plugin import host
from hifacegan_plugin.host.registration import WORKAROUNDS, apply_workarounds
from hifacegan_plugin.host.workaround import Workaround, workaround, workarounds_of

NAMES = {
    ARCH_REGISTRY: ['CSRGenerator', 'MultiscalePatchDiscriminator'],
    DATASET_REGISTRY: ['DegradationDataset'],
    LOSS_REGISTRY: ['FeatureMatchingLoss', 'GANFeatLoss'],
    MODEL_REGISTRY: ['HiFaceGANCSRModel'],
    METRIC_REGISTRY: ['calculate_msssim', 'calculate_lpips', 'calculate_fed', 'calculate_lle'],
}


def test_registering_twice():
    host.register()
    for registry, names in NAMES.items():
        assert [name for name in names if name not in registry] == []


def test_workarounds_are_applied_once():
    before = basicsr.train.load_resume_state, EnlargedSampler.__iter__, torch.load
    apply_workarounds()
    apply_workarounds()
    assert (basicsr.train.load_resume_state, EnlargedSampler.__iter__, torch.load) == before
    applied = workarounds_of(basicsr.train.load_resume_state)
    assert len(applied) == len(set(applied)) > 1


def test_workarounds_are_recognised_by_identity():
    def make() -> Workaround:
        @workaround(defect='returns too little', fix='returns more')
        def return_more() -> None:
            return_more.wrap(owner, 'function', lambda function: lambda: function() + 1)

        return return_more

    owner = types.SimpleNamespace(function=lambda: 0)
    one, another = make(), make()
    assert one.name == another.name == 'return_more'
    for each in (one, another, one):
        each.apply()
    assert owner.function() == 2
    assert workarounds_of(owner.function) == (one, another)


def test_all_workarounds_are_documented():
    page = (REPOSITORY / 'docs' / 'host.md').read_text()
    _, *rows = re.findall(r'^\| (.+) \| (.+) \|$', page, re.MULTILINE)  # after the heading
    assert sorted(rows) == sorted((each.defect, each.fix) for each in WORKAROUNDS)
    assert all((REPOSITORY / link).exists() for link in re.findall(r'\]\(\.\./(hifacegan_plugin/.+?)\)', page))


def test_all_workarounds_are_in_the_table():
    modules = [import_module(f'hifacegan_plugin.host.{name}') for _, name, _ in iter_modules(host.__path__)]
    defined = {each for module in modules for each in vars(module).values() if isinstance(each, Workaround)}
    assert defined == set(WORKAROUNDS)
    assert len({each.name for each in WORKAROUNDS}) == len(WORKAROUNDS)


@pytest.mark.parametrize(
    ('missing', 'fix'),
    [
        ('torchvision.transforms.functional_tensor', 'pip uninstall basicsr'),
        ('basicsr', 'pip install basicsr-fixed'),
    ],
)
def test_a_host_that_cannot_be_imported_is_explained(missing, fix, monkeypatch):
    class Breaks:
        def find_spec(self, name, *_):
            if name == 'basicsr':
                raise ModuleNotFoundError(f'No module named {missing!r}', name=missing)

    monkeypatch.setattr(sys, 'meta_path', [Breaks(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, 'basicsr')
    with pytest.raises(ImportError, match=fix):
        host.register()


def test_importing_the_plugin_does_not_import_optional_packages():
    """For example mmcv, OpenVINO or Matplotlib, which take seconds to import."""
    probe = """
import sys, basicsr, lmdb, mmengine, PIL, pydantic.types, safetensors
packages = {name.partition('.')[0] for name in sys.modules}
import hifacegan_plugin
read_by_pillow = {'pillow_heif', '_pillow_heif'}  # a format more, where it is installed
print({name.partition('.')[0] for name in sys.modules} - packages - read_by_pillow - sys.stdlib_module_names)
"""
    assert subprocess.check_output([sys.executable, '-c', probe], text=True).strip() == "{'hifacegan_plugin'}"


def test_the_command_starts_without_the_host():
    code = "import sys; print([name for name in ('basicsr', 'torchvision', 'torch') if name in sys.modules])"
    probe = f'import sys; import hifacegan_plugin.__main__; {code}'
    assert subprocess.check_output([sys.executable, '-c', probe], text=True).strip() == '[]'


@pytest.mark.parametrize('module', ['hifacegan_plugin', 'hifacegan_plugin.weights', 'hifacegan_plugin.restore'])
def test_the_host_is_not_imported_if_it_is_not_needed(module, tmp_path):
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
