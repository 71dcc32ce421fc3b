"""Tests of benchmarks: repeated calls, packaging of networks, dehazing, and ``make bench``."""

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.ndimage
import torch

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / 'benchmarks'))

import face_restoring  # noqa: E402
import package_pretrained  # noqa: E402
import published  # noqa: E402
import rain_haze  # noqa: E402
import train_peers  # noqa: E402

from hifacegan_plugin.archs.csr_arch import CSRGenerator  # noqa: E402
from hifacegan_plugin.weights import PACKAGED, generator_options, load_generator, read_card, write_weights  # noqa: E402


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Run benchmarks in a temporary folder, on one core."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, 'sched_setaffinity', lambda process, cores: None)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [
        (published, ['--images', '.', '-o']),
        (rain_haze, ['-w', 'general', '--images', '.', '--sheet']),
        (face_restoring, ['--portraits', '.', '--sheet']),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_at_once(script, arguments, tmp_path, monkeypatch, capsys):
    (tmp_path / 'file').touch()
    monkeypatch.setattr(sys, 'argv', ['script', *arguments, 'file/figures.json'])
    with pytest.raises(SystemExit, match='2'):
        script.main()
    assert "'file/figures.json': file is not a folder" in capsys.readouterr().err


class TestTrainPeers:
    @pytest.fixture
    def run(self, small_lmdb, tmp_path, monkeypatch):
        """Run the command with a fake training that takes a second per iteration; return the names of the trainings."""
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
            assert not train_peers.main()  # the exit status
            return trained

        monkeypatch.setattr(train_peers, 'run_host', train)
        monkeypatch.setattr(train_peers, 'compare', lambda *arguments, **options: ['metrics: LPIPS is left out'])
        return run

    def test_each_seed_has_separate_results(self, run):
        run()
        assert 'peer_csr_noise_60s_seed1' in run('--seed', '1')

    def test_a_second_call_trains_missing_networks(self, run):
        assert run() == ['peer_csr_noise_60s_pace', 'peer_csr_noise_60s_pace', 'peer_csr_noise_60s']
        assert run() == []
        assert 'peer_edsr_noise_60s' in run('--peers', 'csr', 'edsr')

    def test_other_crops_are_refused(self, run):
        run()
        with pytest.raises(SystemExit, match=r"^results/peers_noise_60s was made with {'crop': 64, .*'crop': 128, .*"):
            run('--crop', '128')

    def test_other_data_are_refused(self, run, small_lmdb, tmp_path):
        """Data are another database, or the same one with other images."""
        database = tmp_path / 'other.lmdb'
        shutil.copytree(small_lmdb, database)
        run('--train-data', str(database))
        with pytest.raises(SystemExit, match=r'was made with .*other\.lmdb.*: move it away'):
            run()
        with (database / 'meta_info.txt').open('a') as meta_info:
            meta_info.write('00006.png (96,80,3) 1\n')
        with pytest.raises(SystemExit, match=r'was made with .*other\.lmdb.*: move it away'):
            run('--train-data', str(database))


class TestQualityAtBudget:
    KEPT = Path('out/small-noise-0.001-0.json')

    @classmethod
    def marks(cls):
        """Return the stored marks."""
        return json.loads(cls.KEPT.read_text())['marks']

    @pytest.fixture
    def run(self, small_lmdb, tmp_path, monkeypatch):
        """Run the command with a tiny network, one crop per batch and a fake clock of 0.05 s per step; return marks."""
        import quality_at_budget

        (tmp_path / 'small.yml').write_text(
            'network_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: 1, num_block: 0, upscale: 1}'
        )

        def run(*minutes):
            data = ('--train-data', str(small_lmdb), '--test-data', str(small_lmdb))
            command = 'quality_at_budget.py --networks small.yml --degradations noise --rates 1e-3 --seeds 0 --draws 1'
            monkeypatch.setattr(sys, 'argv', [*command.split(), *data, '-o', 'out', '--minutes', *map(str, minutes)])
            quality_at_budget.main()
            return self.marks()

        monkeypatch.setattr(quality_at_budget, 'METRICS', {'PSNR': quality_at_budget.METRICS['PSNR']})
        monkeypatch.setattr(quality_at_budget, 'BATCH', 1)
        ticks = itertools.count()
        monkeypatch.setattr(quality_at_budget.time, 'process_time', lambda: 0.05 * next(ticks))
        monkeypatch.setattr(torch, 'set_num_threads', lambda threads: None)
        return run

    def test_default_networks_have_only_a_pixel_loss(self):
        import quality_at_budget

        names = {file.stem for file in quality_at_budget.peers()}
        assert {'csr', 'csr_fast', 'edsr'} < names
        assert not names & {'guided', 'vae'}

    def test_a_second_call_continues_to_later_marks(self, run):
        first = run(0.002)
        assert run(0.002) == first
        second = run(0.002, 0.004)
        assert second['0.002'] == first['0.002']
        assert second['0.004']['steps'] > first['0.002']['steps']
        with pytest.raises(SystemExit, match=r'small-noise-0.001-0.json has reached 0.004 minutes and .* 0.003:'):
            run(0.002, 0.003, 0.006)
        assert run(0.004) == second

    @pytest.mark.parametrize('killed_at', [2, 4])
    def test_a_kill_between_two_writes_is_harmless(self, run, monkeypatch, killed_at):
        """A state must not be newer than the results; otherwise, the next call would record it for a later mark."""
        import quality_at_budget

        whole_file, names = quality_at_budget.whole_file, []

        def killed(path):
            names.append(path.name)
            if len(names) == killed_at:
                raise KeyboardInterrupt
            return whole_file(path)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(quality_at_budget, 'whole_file', killed)
            run(0.005, 0.01)
        seconds = {mark['seconds'] for mark in self.marks().values()}
        state = self.KEPT.with_suffix('.pth')
        assert not state.exists() or torch.load(state)['seconds'] in seconds
        marks = run(0.005, 0.01, 0.015)
        for earlier, later in (('0.005', '0.01'), ('0.01', '0.015')):
            assert 60 * float(earlier) <= marks[earlier]['seconds'] < 60 * float(later) <= marks[later]['seconds']
            assert marks[earlier]['steps'] < marks[later]['steps']

    def test_rates_with_more_seeds_are_preferred(self, tmp_path):
        import quality_at_budget

        kept = {(1e-3, 0): 29, (1e-3, 1): 31.5, (5e-4, 0): 27, (5e-4, 1): 30, (2e-4, 0): 40}
        for (rate, seed), psnr in kept.items():
            mark = {'steps': 6, 'seconds': 3, 'PSNR': psnr}
            (tmp_path / f'net-noise-{rate:g}-{seed}.json').write_text(json.dumps({'marks': {'5': mark}, 'gflop': 1}))
        arguments = argparse.Namespace(
            networks=[Path('net.yml')], rates=[2e-4, 5e-4, 1e-3], seeds=[0, 1, 2], output=tmp_path
        )
        row = quality_at_budget.table('noise', 5, arguments).splitlines()[-1]
        assert [cell.strip() for cell in row.strip('|').split('|')] == [
            'net',
            '0.001',
            '2',
            '30.25 (2.50)',
            '2.00',
            '1.00',
        ]

    def test_marks_must_be_above_zero(self, run, capsys):
        with pytest.raises(SystemExit):
            run(0, 1)
        assert '--minutes: expected numbers above 0' in capsys.readouterr().err


def test_make_bench_runs_each_benchmark_once():
    plan = subprocess.run(['make', '-n', 'bench'], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    _, databases, benchmarks = plan.rpartition('-o datasets/demo/heldout.lmdb')
    assert databases
    scripts = {path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob('benchmarks/*.py')}
    needs_arguments = {script for script in scripts if 'required=True' in (REPOSITORY / script).read_text()}
    scripts -= needs_arguments | {'benchmarks/gpu.py'}  # needs a GPU
    assert sorted(re.findall(r'benchmarks/\w+\.py', benchmarks)) == sorted(scripts)
    assert re.search(r'train_peers.py --budget 60 ', benchmarks)
    assert re.search(r'quality_at_budget.py .*--minutes 1 .*--seeds 0$', benchmarks.replace('\\\n', ''), re.MULTILINE)


def test_the_readme_lists_every_benchmark():
    folder = REPOSITORY / 'benchmarks'
    listed = re.findall(r'^\| `(\w+\.py)`', (folder / 'README.md').read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in folder.glob('*.py'))


class TestPackagePretrained:
    """Tests of package_pretrained.py."""

    @pytest.fixture
    def packaged(self, tmp_path, monkeypatch):
        """A copy of a packaged network, which the script overwrites."""
        copy = tmp_path / 'packaged.safetensors'
        shutil.copy(PACKAGED['faces'], copy)
        monkeypatch.setattr(package_pretrained, 'PACKAGED', {'faces': copy})
        return copy

    @pytest.fixture
    def run(self, packaged, tmp_path, monkeypatch):
        torch.manual_seed(0)
        network = CSRGenerator(preset='fast', num_feat=8, num_scales=3)
        with torch.no_grad():  # initially, the network is the identity
            for parameter in network.parameters():
                parameter += 0.02 * torch.randn_like(parameter)
        write_weights(tmp_path / 'net_g.safetensors', network.state_dict(), generator_options(network))
        figures = {'input': {'noise 25': [20.0, 21.0], 'clean': [100.0] * 2}}
        figures['net_g'] = {'noise 25': [30.0, 32.0], 'clean': [44.0, 45.0]}
        (tmp_path / 'figures.json').write_text(json.dumps({'images': ['a', 'b'], 'figures': figures}))

        def run(weights='net_g.safetensors'):
            command = ['package_pretrained.py', 'faces', '-w', weights, '--figures', 'two images', 'figures.json']
            monkeypatch.setattr(sys, 'argv', [*command, '--recipe', 'none'])
            package_pretrained.main()
            return network

        return run

    def test_packaged_network_and_card(self, run, packaged):
        network, purpose = run().eval(), read_card(packaged)['purpose']
        image = torch.rand(1, 3, 64, 64)
        with torch.inference_mode():
            difference = load_generator(packaged).eval()(image) - network(image)
        assert 0 < difference.abs().max() < 2e-3  # rounding to float16
        card = read_card(packaged)
        assert card['figures'] == {'two images': {'noise 25': [20.5, 31.0], 'clean': [None, 44.5]}}
        assert card['recipe'] == 'none' and card['purpose'] == purpose == read_card(PACKAGED['faces'])['purpose']

    def test_figures_of_other_weights_are_refused(self, run, packaged, tmp_path):
        before = packaged.read_bytes()
        (tmp_path / 'net_g.safetensors').rename(tmp_path / 'other.safetensors')
        with pytest.raises(SystemExit, match=r'^figures.json: measured input, net_g, not other\. Run published.py'):
            run('other.safetensors')
        assert packaged.read_bytes() == before


class TestRainHaze:
    """Tests of rain_haze.py and of its dark channel prior, on haze with known airlight and transmission."""

    @pytest.fixture
    def clear(self):
        """An image of red, green and blue tiles, so that the dark channel is zero."""
        rng = np.random.default_rng(0)
        tiles = np.zeros((12, 16, 3), np.uint8)
        tiles[np.arange(12)[:, None], np.arange(16), rng.integers(3, size=(12, 16))] = rng.integers(60, 250, (12, 16))
        image = tiles.repeat(16, 0).repeat(16, 1)
        image[:16, :16] = 255  # a white region, which gives the airlight
        return image

    def test_dehazing_inverts_koschmieders_law(self, clear):
        """Removing 95 % of the haze replaces 1 - t by 0.95 (1 - t)."""
        light, transmission = 255.0, 0.6
        hazy = np.rint(clear * transmission + light * (1 - transmission)).astype(np.uint8)
        estimate = 1 - 0.95 * (1 - transmission)
        expected = np.clip((hazy - light) / estimate + light, 0, 255)
        far = np.s_[110:, 110:]  # not affected by the white region through patches and filters
        assert np.abs(rain_haze.dehaze(hazy, patch=9)[far].astype(float) - expected[far]).max() < 1
        assert np.abs(hazy[far].astype(float) - clear[far]).max() > 100

    def test_a_clear_image_does_not_change(self, clear):
        far = np.s_[110:, 110:]
        assert np.array_equal(rain_haze.dehaze(clear, patch=9)[far], clear[far])

    def test_the_guided_filter_keeps_linear_functions_of_the_guide(self):
        rng = np.random.default_rng(0)
        guide = rng.random((40, 50)).astype(np.float32)
        filtered = rain_haze.guided_filter(guide, 0.3 * guide + 0.2, radius=4, eps=1e-8)
        assert filtered == pytest.approx(0.3 * guide + 0.2, abs=1e-4)
        flat = rain_haze.guided_filter(np.ones_like(guide), guide, radius=4, eps=1e-3)
        box = scipy.ndimage.uniform_filter(guide, 9, mode='mirror')
        assert flat == pytest.approx(scipy.ndimage.uniform_filter(box, 9, mode='mirror'), abs=1e-4)

    def test_the_table_contains_the_psnr(self, small_lmdb, tmp_path, monkeypatch, capsys):
        """The identity network has the same values as the input and no gain."""
        network = CSRGenerator(preset='fast', num_feat=2)  # initially, the network is the identity
        write_weights(tmp_path / 'same.safetensors', network.state_dict(), generator_options(network))
        command = ['rain_haze.py', '-w', 'same.safetensors', '--images', str(small_lmdb), '--draws', '2']
        monkeypatch.setattr(sys, 'argv', [*command, '--sheet', 'sheet.jpg'])
        rain_haze.main()
        printed = capsys.readouterr().out
        psnr = []
        for draw in (0, 1):
            for degraded, truth in rain_haze.read_pairs('haze', small_lmdb, draw):
                error = np.mean((degraded.astype(float) - truth) ** 2)
                psnr.append(10 * np.log10(255**2 / error))
        _, _, haze = printed.partition('\nhaze: 6 images, each degraded 2 times\n')
        rows = {
            cells[0].strip(): cells[1:] for cells in (line.strip('|').split('|') for line in haze.splitlines()[2:7])
        }
        for name in ('input', 'network'):
            assert re.match(rf' +{np.mean(psnr):.2f} \[', rows[name][0])
            assert rows[name][1].strip() == '–'
        assert cv2.imread('sheet.jpg').shape[1] == 3 * (80 + 6)

    @pytest.mark.parametrize(
        ('weights', 'images', 'draws', 'message'),
        [
            (
                'general',
                'nowhere.lmdb',
                '1',
                '--images: nowhere.lmdb does not exist: make it as described in docs/rain_haze.md',
            ),
            ('nothing.pth', '.', '1', '--weights: nothing.pth: there is no such weights file. Check the path.'),
            ('general', '.', '0', '--draws: expected a number of at least 1'),
        ],
    )
    def test_invalid_arguments_are_reported(self, weights, images, draws, message, monkeypatch, capsys):
        command = ['rain_haze.py', '-w', weights, '--images', images, '--draws', draws]
        monkeypatch.setattr(sys, 'argv', command)
        with pytest.raises(SystemExit):
            rain_haze.main()
        assert message in capsys.readouterr().err
