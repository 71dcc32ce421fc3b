"""Tests of writing and deleting the files of checkpoints, also in case of errors and kills."""

import itertools
import resource
import signal
from pathlib import Path

import pytest
import torch

from hifacegan_plugin.models.checkpoint_files import delete_unfinished, prune_checkpoints, write_checkpoint


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    folders = tmp_path / 'models', tmp_path / 'training_states'
    for folder in folders:
        folder.mkdir()
    return folders


def put_checkpoints(folders: tuple[Path, Path], *iterations: int) -> None:
    models, states = folders
    for iteration in iterations:
        for network in 'gd':
            (models / f'net_{network}_{iteration}.pth').touch()
        (states / f'{iteration}.state').touch()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def newest_checkpoint(folders: tuple[Path, Path]) -> int:
    """Return the iteration that the host resumes from; check that its networks exist."""
    models, states = folders
    newest = max(int(name.removesuffix('.state')) for name in names(states) if not name.startswith('.'))
    assert {f'net_{network}_{newest}.pth' for network in 'gd'} <= set(names(models))
    return newest


def test_incomplete_checkpoints_are_pruned_and_other_files_kept(folders):
    models, states = folders
    put_checkpoints(folders, 2, 4, 6, 8)
    (states / '4.state').unlink()  # killed while it was being deleted
    (models / 'net_d_4.pth').unlink()
    (states / '.8.4711.part.state').touch()  # killed while it was being written
    for name in ('net_g_latest.pth', 'notes.txt', 'net_g_mine.pth'):
        (models / name).touch()
    prune_checkpoints(models, states, keep_last=1, keep={2})
    others = ['net_g_latest.pth', 'net_g_mine.pth', 'notes.txt']
    assert names(models) == sorted([*(f'net_{n}_{i}.pth' for n in 'gd' for i in (2, 8)), *others])
    assert names(states) == ['.8.4711.part.state', '2.state', '8.state']


def test_keep_last_0_prunes_nothing(folders):
    put_checkpoints(folders, 2, 4)
    (folders[1] / '2.state').unlink()
    prune_checkpoints(*folders, keep_last=0, keep=set())
    assert len(names(folders[0])) == 4


@pytest.mark.parametrize('keep_last', [1, 2])
def test_a_kill_during_pruning_leaves_a_complete_checkpoint(folders, keep_last, monkeypatch):
    class KilledError(BaseException):
        pass

    unlink = Path.unlink
    for steps in itertools.count():
        put_checkpoints(folders, 10, 20, 30, 40)
        left = iter(range(steps))

        def unlink_or_kill(self, missing_ok=False, left=left):
            if next(left, None) is None:
                raise KilledError
            unlink(self, missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, 'unlink', unlink_or_kill)
            try:
                prune_checkpoints(*folders, keep_last, keep={20})
                break
            except KilledError:
                assert newest_checkpoint(folders) == 40
        prune_checkpoints(*folders, keep_last, keep={20})  # deletes the remaining files
        kept = {20, *(40, 30)[:keep_last]}
        assert set(names(folders[0])) == {f'net_{n}_{i}.pth' for n in 'gd' for i in kept}
    assert steps == 3 * (4 - len({20, *(40, 30)[:keep_last]}))  # one for each deleted file


def test_temporary_files_of_killed_processes_are_deleted(folders):
    put_checkpoints(folders, 2)
    for folder, name in zip(folders, ('.net_g_4.4711.part.pth', '.4.4711.part.state'), strict=True):
        (folder / name).write_bytes(b'half')
    delete_unfinished(*folders)
    assert names(folders[0]) + names(folders[1]) == ['net_d_2.pth', 'net_g_2.pth', '2.state']


def test_a_write_error_keeps_the_old_file(tmp_path):
    path = tmp_path / '2.state'
    write_checkpoint({'iter': 2}, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match=r'2\.state'):
            write_checkpoint({'iter': 2, 'large': torch.zeros(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert torch.load(path) == {'iter': 2}
    assert names(tmp_path) == ['2.state']
