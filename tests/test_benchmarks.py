"""The benchmarks that keep what they have trained: what a second call may take over, and what not."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

import train_peers


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Benchmarks work in the current folder, on one core."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, 'sched_setaffinity', lambda process, cores: None)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')


class TestTrainPeers:
    @pytest.fixture
    def run(self, small_lmdb, tmp_path, monkeypatch):
        """Runs the command with a training that takes a second an iteration; gives the names of what was trained."""
        trained = []

        def train(peer, name, iterations, arguments):
            weights = Path(f'experiments/{name}/models/net_g_latest.pth')
            weights.parent.mkdir(parents=True, exist_ok=True)
            weights.touch()
            trained.append(name)
            return iterations

        def run(*arguments):
            trained.clear()
            data = ('--train-data', str(small_lmdb), '--test-data', str(small_lmdb))
            monkeypatch.setattr(sys, 'argv', ['train_peers.py', '--peers', 'csr', '--budget', '60', *data, *arguments])
            assert train_peers.main() == 0
            return trained

        monkeypatch.setattr(train_peers, 'run_host', train)
        monkeypatch.setattr(train_peers, 'compare', lambda comparison, folder, resume: [])
        return run

    def test_a_second_call_trains_what_is_missing(self, run):
        assert run() == ['peer_csr_noise_60s_pace', 'peer_csr_noise_60s_pace', 'peer_csr_noise_60s']
        assert run() == []
        assert 'peer_edsr_noise_60s' in run('--peers', 'csr', 'edsr')

    def test_other_crops_are_refused(self, run):
        run()
        with pytest.raises(SystemExit, match=r"^results/peers_noise_60s was made with {'crop': 64, .*'crop': 128, .*"):
            run('--crop', '128')

    def test_other_data_are_refused(self, run, small_lmdb, tmp_path):
        """Another database, and what it was made anew from."""
        database = tmp_path / 'other.lmdb'
        shutil.copytree(small_lmdb, database)
        run('--train-data', str(database))
        with pytest.raises(SystemExit, match=r'was made with .*other\.lmdb.*: move it away'):
            run()
        with (database / 'meta_info.txt').open('a') as meta_info:
            meta_info.write('00006.png (96,80,3) 1\n')
        with pytest.raises(SystemExit, match=r'was made with .*other\.lmdb.*: move it away'):
            run('--train-data', str(database))
