"""Tests of trainings with two processes through the host's launcher: results, signals, errors."""

import os
import re
import signal
from pathlib import Path

import pytest
import torch
from conftest import HANGS
from host_training import (
    DEMO,
    NAME,
    TORCHRUN,
    TRAIN,
    assert_same_weights,
    check_checkpoints,
    logged,
    run,
    small,
    start,
    wait_for_iterations,
    write_sgd_options,
)

LAUNCH = ('--launcher', 'pytorch')

# A module next to the options file: a data set that returns a NaN once, in one process.
POISON = """
import atexit
import os
from pathlib import Path
from basicsr.utils.registry import DATASET_REGISTRY
from hifacegan_plugin.data import DegradationDataset

__version__ = 'poison'


@atexit.register  # before the processes find each other, and so called after their connection has ended
def write_threads():
    names = [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]
    Path(f'threads_{os.environ["RANK"]}').write_text(' '.join(names))


@DATASET_REGISTRY.register()
class PoisonedDataset(DegradationDataset):
    reads = 0

    def __getitem__(self, index):
        item = super().__getitem__(index)
        self.reads += 1
        if os.environ['RANK'] == '1' and self.reads == 5:  # of the third batch
            item['gt'][0, 0, 0] = float('nan')
        return item
"""


def figures(output: str, name: str) -> list[float]:
    """Return all values of a loss or a metric in the log."""
    return [float(value) for value in re.findall(rf'\b{name}: ([\d.e+-]+)', output)]


# In addition to PSNR and SSIM: a metric of the whole set, and one that has no value for images without a face.
METRICS = """  metrics:
    fid:
      type: calculate_fid
    lle:
      type: calculate_lle
"""

# A module that the training imports: means and standard deviations of colours replace Inception features.
COLOURS = """
import numpy as np
from hifacegan_plugin.metrics import building

__version__ = 'colours'
building.inception_features = lambda img: np.concatenate([img.mean((0, 1)), img.std((0, 1))])
"""


@pytest.mark.parametrize(
    'others',
    [pytest.param({}, marks=pytest.mark.heavy), {'train__progressive': [3, 5, 7]}],
    ids=['one phase', 'four phases'],
)
def test_two_processes_with_half_the_batch_size_equal_one_process(small_lmdb, tmp_path, others):
    options = write_sgd_options(tmp_path)
    text = options.read_text().replace('  metrics:\n', METRICS)
    options.write_text(f'{text}colours: !!python/name:colours.__version__\n')
    five = tmp_path / 'five.txt'  # an odd number of validation images, so that the processes have unequal parts
    five.write_text('\n'.join(f'{i:05d}' for i in range(5)))
    outputs, folders = [], [tmp_path / 'whole', tmp_path / 'halves']
    for folder, launcher, batch in ((folders[0], TRAIN[:2], 4), (folders[1], TORCHRUN, 2)):
        folder.mkdir()
        (folder / 'colours.py').write_text(COLOURS)
        overrides = small(
            small_lmdb,
            10,
            datasets__train__batch_size_per_gpu=batch,
            network_g__preset='paper',
            network_g__norm='syncbatch',
            datasets__val__meta_info_file=five,
            val__val_freq=10,
            logger__save_checkpoint_freq=5,
            **others,
        )
        launch = LAUNCH if launcher is TORCHRUN else ()
        outputs.append(run([*launcher, 'basicsr.train', '-opt', options, *launch, *overrides], folder))
    assert 'DistributedDataParallel' in outputs[1]
    assert_same_weights(folders[1] / NAME, folders[0] / NAME, 1e-4)
    for loss in ('l_g_pix', 'l_g_gan', 'l_g_feat', 'l_d_real', 'l_d_fake'):
        assert len(figures(outputs[0], loss)) == 10
        assert figures(outputs[1], loss) == pytest.approx(figures(outputs[0], loss), rel=1e-3, abs=1e-4)
    for metric in ('psnr', 'ssim', 'fid'):
        assert figures(outputs[1], metric) == pytest.approx(figures(outputs[0], metric), abs=2e-3, rel=1e-3)
    assert min(figures(outputs[0], 'fid')) > 1
    without_face = [re.findall(r'lle has no value for .*', output) for output in outputs]
    assert without_face[0] == without_face[1] != []


@pytest.mark.parametrize('dies', [0, pytest.param(1, marks=pytest.mark.heavy)])
def test_if_a_process_is_killed_the_other_exits_with_a_message(dies, small_lmdb, tmp_path):
    overrides = small(
        small_lmdb, 3000, val__val_freq=3000, logger__save_checkpoint_freq=3000, datasets__train__num_worker_per_gpu=1
    )
    output = tmp_path / 'output'
    torchrun = start([*TORCHRUN, *TRAIN[2:], *LAUNCH, *overrides], tmp_path, output)
    wait_for_iterations(torchrun, output, 2)
    (process,) = (pid for pid in children(torchrun.pid) if environment_of(pid).get('RANK') == str(dies))
    os.kill(process, signal.SIGKILL)
    assert torchrun.wait(timeout=HANGS) != 0
    assert f'Process {1 - dies}: another process of this training has ended' in output.read_text()
    assert 'forcefully exiting' not in output.read_text(), 'torchrun had to kill the other process'


def test_sigterm_stops_both_processes_and_the_training_can_be_resumed(small_lmdb, tmp_path):
    overrides = {'val__val_freq': 3000, 'logger__save_checkpoint_freq': 3000}
    command, output = [*TORCHRUN, *TRAIN[2:], *LAUNCH], tmp_path / 'output'
    torchrun = start([*command, *small(small_lmdb, 3000, **overrides)], tmp_path, output)
    wait_for_iterations(torchrun, output, 2)
    torchrun.send_signal(signal.SIGTERM)
    torchrun.wait(timeout=HANGS)
    stopped_at = check_checkpoints(tmp_path / NAME)
    assert f'SIGTERM at iteration {stopped_at}: saving' in output.read_text()
    assert 'another process of this training has ended' not in output.read_text()
    state = torch.load(tmp_path / NAME / f'training_states/{stopped_at}.state')
    first, second = (one['torch'] for one in state['random_states'])
    assert not torch.equal(first, second)  # the processes have different random states
    resumed = run([*command, '--auto_resume', *small(small_lmdb, stopped_at + 1, **overrides)], tmp_path)
    assert list(logged(resumed)) == [stopped_at + 1]


@pytest.mark.parametrize('reaction', ['skip', 'stop'])
def test_both_processes_react_to_a_loss_that_is_not_finite_in_one(reaction, small_lmdb, tmp_path):
    (tmp_path / 'poison.py').write_text(POISON)
    options = tmp_path / 'poisoned.yml'
    text = DEMO.read_text().replace('type: DegradationDataset', 'type: PoisonedDataset', 1)
    options.write_text(f'{text}\npoison: !!python/name:poison.__version__\n')
    overrides = small(
        small_lmdb,
        5,
        datasets__train__deliver='float',
        train__on_not_finite=reaction,
        val__val_freq=5,
        logger__save_checkpoint_freq=5,
    )
    output = tmp_path / 'output'
    torchrun = start([*TORCHRUN, 'basicsr.train', '-opt', options, *LAUNCH, *overrides], tmp_path, output)
    assert (torchrun.wait(timeout=HANGS) == 0) == (reaction == 'skip'), output.read_text()
    message = 'Iteration 3: a loss is not finite'
    assert message in output.read_text()
    aside = [torch.load(tmp_path / NAME / f'not_finite/3_rank{rank}.pth') for rank in (0, 1)]
    assert [content['gt'].isnan().sum() for content in aside] == [0, 1]
    if reaction == 'skip':
        assert check_checkpoints(tmp_path / NAME) == 5
        # The interpreter may abort if it shuts down while gloo's threads run.
        assert 'gloo' not in (tmp_path / 'threads_0').read_text() + (tmp_path / 'threads_1').read_text()
    else:
        assert output.read_text().count(f'FloatingPointError: {message}') == 2


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f'/proc/{pid}/task').iterdir() for child in (task / 'children').read_text().split()
    ]


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f'/proc/{pid}/environ').read_bytes().decode().split('\0')
    return dict(entry.split('=', 1) for entry in entries if '=' in entry)
