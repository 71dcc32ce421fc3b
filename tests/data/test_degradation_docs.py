"""docs/degradations.md: its tables against the code, and its example of one's own step, run as it is written."""

import dataclasses
import math
import re
import sys

import numpy as np
import pytest
import yaml
from basicsr.data import build_dataset
from basicsr.utils.options import yaml_load
from conftest import REPOSITORY
from host_training import DEMO

from hifacegan_plugin.data.degradations import DEGRADATIONS
from hifacegan_plugin.schema.data import DegradationOptions, Loading

PAGE = (REPOSITORY / 'docs/degradations.md').read_text()


def table(heading: str) -> dict[str, str]:
    """The second column by what stands in backticks in the first."""
    section = PAGE.split(f'\n## {heading}\n')[1].split('\n## ')[0]
    rows = re.findall(r'^\| (`.*?) \| (.*?) \|', section, re.M)
    return {name: cell for names, cell in rows for name in re.findall(r'`(\w+)`', names)}


def test_the_table_of_steps_has_every_step_option_and_default():
    written = {}
    for step, cell in table('Steps').items():
        options = [text.replace('π', str(math.pi)) for text in re.findall('`(.*?)`', cell)]
        options = [re.sub(r'([\d.]+)/3', lambda match: str(float(match[1]) / 3), text) for text in options]
        written[step] = {key: value for text in options for key, value in yaml.safe_load(f'{{{text}}}').items()}
    declared = {}
    for step, cls in DEGRADATIONS.module_dict.items():
        if cls.__module__.startswith('hifacegan_plugin.'):
            declared[step] = {field.name: field.default for field in dataclasses.fields(cls)}
    assert written.keys() == declared.keys()
    for step, defaults in declared.items():
        assert written[step].keys() == defaults.keys(), step
        for option, default in defaults.items():
            if default is not dataclasses.MISSING:  # as that of `steps` is
                expected = pytest.approx(list(default)) if isinstance(default, tuple) else default
                assert written[step][option] == expected, (step, option)


def test_the_table_of_the_dataset_has_every_option():
    of_the_host = set(Loading.model_fields) - {'scale'}
    assert set(table('Options of the dataset')) == set(DegradationOptions.model_fields) - of_the_host
    named = PAGE.split('\n## Options of the dataset\n')[1].partition('\n|')[0]
    assert set(re.findall(r'`(\w+)`', named)) - {'DegradationDataset'} == of_the_host - {'phase'}


@pytest.fixture
def own_step(tmp_path, monkeypatch):
    """The example's module where Python finds it; forgotten afterwards."""
    (module,) = re.findall(r'^```python\n(.*?)^```', PAGE, re.M | re.S)
    (tmp_path / 'my_steps.py').write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    DEGRADATIONS.module_dict.pop('Vignette', None)
    sys.modules.pop('my_steps', None)


def test_the_example_of_ones_own_step_works_from_an_options_file(own_step, small_lmdb, tmp_path):
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
    corners = np.concatenate([change[rows, columns].ravel() for rows in (slice(8), slice(-8, None))
                              for columns in (slice(8), slice(-8, None))])
    assert corners.mean() < middle.mean() - 0.05
