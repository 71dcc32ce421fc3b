"""Tests of the example of a custom step in docs/degradations.md."""

import re
import sys

import numpy as np
import pytest
from basicsr.data import build_dataset
from basicsr.utils.options import yaml_load
from conftest import REPOSITORY
from host_training import DEMO

from hifacegan_plugin.data.degradations import DEGRADATIONS

PAGE = (REPOSITORY / 'docs/degradations.md').read_text()


@pytest.fixture
def own_step(tmp_path, monkeypatch):
    """The example as a module that can be imported; unregistered afterwards."""
    (module,) = re.findall(r'^```python\n(.*?)^```', PAGE, re.M | re.S)
    (tmp_path / 'my_steps.py').write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    DEGRADATIONS.module_dict.pop('Vignette', None)
    sys.modules.pop('my_steps', None)


def test_the_example_of_a_custom_step(own_step, small_lmdb, tmp_path):
    (line,) = re.findall(r'^my_steps: .*$', PAGE, re.M)
    (recipe,) = re.findall(r'`degradation: (\[\{type: Vignette.*?\])`', PAGE)
    first, rest = DEMO.read_text().split('\n', 1)
    file = tmp_path / 'options.yml'
    file.write_text(f'{first}\n{line}\n{rest}'.replace('&degradation noise', f'&degradation {recipe}'))
    options = yaml_load(str(file))['datasets']['val'] | {'phase': 'val', 'dataroot_gt': str(small_lmdb)}
    item = build_dataset(options)[0]
    change = (item['lq'].mean(0) - item['gt'].mean(0)).numpy()
    height, width = change.shape
    middle = change[height // 4 : -height // 4, width // 4 : -width // 4]
    corners = np.concatenate(
        [
            change[rows, columns].ravel()
            for rows in (slice(8), slice(-8, None))
            for columns in (slice(8), slice(-8, None))
        ]
    )
    assert corners.mean() < middle.mean() - 0.05
