"""Tests of the command ``hifacegan doctor``."""

import argparse
import os
import re
import shutil
import signal
from importlib import metadata
from pathlib import Path
from urllib.error import URLError

import lmdb
import pytest
import torch
from conftest import REPOSITORY
from host_training import DEMO

from hifacegan_plugin import host
from hifacegan_plugin.archs import CSRGenerator
from hifacegan_plugin.commands import doctor as command
from hifacegan_plugin.doctor import environment, rehearsal, training
from hifacegan_plugin.doctor.data_items import check_guide
from hifacegan_plugin.doctor.options_file import check_region

DATABASES = ('train.lmdb', 'heldout.lmdb')


@pytest.fixture
def doctor(small_lmdb, tmp_path, monkeypatch, capsys):
    """A function that runs the doctor on small demo options with changes and returns exit status and output."""
    monkeypatch.chdir(tmp_path)
    good = DEMO.read_text().replace('num_feat: 16', 'num_feat: 4').replace('datasets/demo/', f'{tmp_path}/')
    for name in DATABASES:
        shutil.copytree(small_lmdb, tmp_path / name)

    def examine(*changes: tuple[str, str], iterate: bool = False, text: str = good) -> tuple[int, str]:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / 'options.yml'
        file.write_text(text)
        status = command.run(argparse.Namespace(opt=file, iterate=iterate))
        return status, capsys.readouterr().out

    return examine


def test_ctrl_c_ends_the_doctor(doctor, monkeypatch):
    """The model would otherwise catch the signal to write a checkpoint."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT
    monkeypatch.setattr(rehearsal, 'train_two_iterations', lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        doctor(iterate=True)


def findings(output: str) -> tuple[list[str], list[str]]:
    """Return the errors and warnings about the options file."""
    of_file = output.partition('\noptions.yml')[2] or output.partition('options.yml\n')[2]
    return tuple(re.findall(rf'^  {kind}: (.*)\n    -> .+', of_file, re.M) for kind in ('WRONG', 'doubtful'))


def test_valid_options_give_no_problems_and_leave_no_files(doctor, tmp_path):
    status, output = doctor(iterate=True)
    assert (status, findings(output)) == (0, ([], []))
    unwrapped = output.replace('\n    ', ' ')
    assert re.search(r'a checkpoint takes about 0\.0\d GB', output)
    assert re.search(r'an iteration takes [\d.]+ s .* and [\d.]+ GiB of memory', unwrapped)
    assert re.search(
        r'a validation takes [\d:]+ \([\d:]+ for all 5\); iterations and validations take [\d:]+', unwrapped
    )
    assert 'l_g_pix' in output
    for package in ('torch', 'torchvision', 'numpy', 'opencv-python', 'mmengine'):
        assert f'{package} {metadata.version(package)}' in unwrapped
    assert {path.name for path in tmp_path.iterdir()} == {'options.yml', *DATABASES}


@pytest.mark.parametrize('section', ['val', 'network_d'])
def test_null_sections_are_ignored(doctor, section):
    changes = [(f'\n{section}:\n', f'\n{section}: ~\nunused:\n')]
    if section == 'network_d':  # also remove the losses that need it
        changes += [('  gan_opt:', '  unused:'), ('  feature_matching_opt:', '  unused_too:')]
    status, output = doctor(*changes)
    assert (status, findings(output)[0]) == (0, [])


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('plugin: !!python/name:hifacegan_plugin.__version__', '', 'Nothing in the file imports the plugin'),
        (
            'hifacegan_plugin.__version__',
            'hifacegan_plagin.__version__',
            "(?s)cannot be read as YAML.*'hifacegan_plagin'",
        ),
        ('  val_freq: 100', ' val_freq: 100\n   x: 1', 'cannot be read as YAML'),
        (
            'HiFaceGANCSRModel',
            'HiFaceGANCSRModle',
            "there is no 'HiFaceGANCSRModle'. Did you mean 'HiFaceGANCSRModel'?",
        ),
        ('CSRGenerator', 'CSRGenerater', "network_g: there is no 'CSRGenerater'. Did you mean 'CSRGenerator'?"),
        ('num_d: 2', 'num_b: 2', "network_d: .*has no option 'num_b'. Did you mean 'num_d'?"),
        ('DegradationDataset', 'DegradedDataset', "datasets: val: there is no 'DegradedDataset'. Did you mean 'Degrad"),
        ('L1Loss', 'L1', "train: pixel_opt: there is no 'L1'"),
        ('gan_type: lsgan', 'kind: lsgan', 'train: gan_opt: MultiScaleGANLoss needs gan_type'),
        (
            'calculate_ssim',
            'calculate_sim',
            "metrics: ssim: there is no 'calculate_sim'. Did you mean 'calculate_ssim'?",
        ),
        (
            'calculate_psnr\n      crop_border: 0',
            'calculate_psnr',
            'val: metrics: psnr: calculate_psnr needs crop_border',
        ),
        ('type: Adam\n', 'type: Adan\n', "train: optim_g: there is no 'Adan'. Did you mean 'Adam'?"),
        ('betas: [', 'beta: [', "train: optim_d: Adam has no option 'beta'. Did you mean 'betas'?"),
        ('type: LinearDecayLR', 'type: LinearLR', "scheduler: there is no 'LinearLR'. Did you mean 'LinearDecayLR'?"),
        ('gt_size: 64', 'gt_size: 12', 'gt_size: 12 is too small: the network takes images from 16 x 16'),
        ('gt_size: 64', 'gt_size: 96', 'datasets: train: .*smaller than gt_size 96'),
        ('\nscale: 1', '\nscale: 4', 'scale is 4, but CSRGenerator returns images of the size of its input'),
        ('&degradation noise', '&degradation nose', "unknown degradation recipe 'nose'. Did you mean 'noise'?"),
        (
            'dataroot_gt: ',
            'dataroot_gtt: ',
            "datasets: val: unknown option 'dataroot_gtt'. Did you mean 'dataroot_gt'?",
        ),
        ('dataroot_gt: ', 'dataroot_gt: /missing', 'datasets: train: dataroot_gt: /missing.* does not exist'),
        ('pretrain_network_g: ~', 'pretrain_network_g: gone.pth', 'path: pretrain_network_g: gone.pth does not exist'),
        ('  total_iter: 400\n', '', 'train: total_iter is missing'),
        ('    batch_size_per_gpu: 8\n', '', 'datasets: train: batch_size_per_gpu is missing'),
        ('name: HiFaceGAN_demo\n', '', 'name is missing'),
        (
            '  ema_decay: 0.99',
            '  ema_decay: 0.99\n  ema_decay: 0.9',
            'train: ema_decay occurs twice, in lines 53 and 54',
        ),
        ('lr: !!float 1e-3', 'lr: 1e-3', 'train: optim_g: lr: YAML reads 1e-3 as text'),
        ('\nval:\n', '\nval: none\nvalidation:\n', "val has to be a section with options, not 'none'"),
        ('num_gpu: auto', 'num_gpu: 99', r'num_gpu: 99, but torch finds \d GPUs'),
        ('save_checkpoint_freq: 100', 'save_checkpoint_freq: 0', 'logger: save_checkpoint_freq: .*from 1 up .*, not 0'),
        ('enlarge_ratio: 40', 'enlarge_ratio: 1', '6 images per epoch do not fill a batch of 8'),
        ('prefetch_mode: ~', 'prefetch_mode: gpu', "datasets: train: prefetch_mode: give ~, cpu or cuda, not 'gpu'"),
        ('project: ~', 'project: mine', 'logger: wandb cannot be imported'),
        (
            'use_tb_logger: true\n  wandb:\n    project: ~',
            'use_tb_logger: false\n  wandb:\n    project: mine',
            'logger: wandb shows what TensorBoard logs, which is off',
        ),
        ('name: HiFaceGAN_demo\n', 'name: face/v1\n', "name: give the name of a folder, .*, not 'face/v1'"),
        ('resume_state: ~', 'resume_state: gone.state', 'path: resume_state: gone.state does not exist'),
        ('  gan_opt:', '  hidden_opt: ~\n  gan: ', 'train: feature_matching_opt needs gan_opt'),
        ('ema_decay: 0.99', 'keep_best: lpips', 'train: keep_best: lpips is not measured'),
        ('ema_decay: 0.99', 'amp: half', "train: amp: give none, bf16 or fp16, not 'half'"),
        (
            'total_iter: 400',
            'total_iter: 100,000',
            "train: total_iter: give a whole number from 1 up .*, not '100,000'",
        ),
        ('print_freq: 10', 'print_freq: often', "logger: print_freq: give a whole number .*, not 'often'"),
        ('val_freq: 100', 'val_freq: 12.5', 'val: val_freq: give a whole number .*, not 12.5'),
        ('end_iter: 400', 'end_iter: last', "train: scheduler: end_iter: give a whole number, not 'last'"),
        ('enlarge_ratio: 40', 'enlarge_ratio: many', "dataset_enlarge_ratio: give a number from 1 up, not 'many'"),
        ('gt_size: 64', 'gt_size: [64, 64]', r'datasets: train: gt_size: give a whole number .*, not \[64, 64\]'),
        ('batch_size_per_gpu: 8', 'batch_size_per_gpu: auto', "batch_size_per_gpu: give a whole number .*, not 'auto'"),
        ('num_worker_per_gpu: 1', 'num_worker_per_gpu: all', "num_worker_per_gpu: .* number from 0 up, not 'all'"),
        ('  ema_decay: 0.99', '  accumulate_iters: two', "accumulate_iters: .*from 1 up .*, not 'two'"),
        ('  ema_decay: 0.99', '  keep_last: true', 'train: keep_last: give a whole number from 0 up, not True'),
        ('  ema_decay: 0.99', '  keep_best: [psnr]', 'train: keep_best: give one name, not'),
        (
            'pretrain_network_g: ~',
            'pretrain_network_g: [a]',
            'path: pretrain_network_g: give a path, or ~ for none, not',
        ),
        (
            'io_backend:\n      type: lmdb',
            'io_backend: lmdb',
            "datasets: val: io_backend has to be a section .*, not 'lmdb'",
        ),
        (
            'calculate_ssim\n      crop_border: 0',
            'calculate_ssim\n      crop_border: 0\n    mine:',
            'val: metrics: mine has to be a section with options, not None',
        ),
        (
            'calculate_ssim\n',
            'calculate_fed\n      region: face\n',
            'val: metrics: ssim: calculate_fed always measures the face and takes no region',
        ),
        (
            'calculate_ssim\n',
            'calculate_ssim\n      region: nose\n',
            "val: metrics: ssim: region: give face or background, not 'nose'",
        ),
        ('  metrics:\n', '  metrics: [psnr]\n  others:\n', r"val: metrics has to be a section .*, not \['psnr'\]"),
        ('root: experiments', 'root: 5', 'path: experiments_root: give a path, or ~ for none, not 5'),
        ('wandb:\n', 'wandb: mine\n  others:\n', "logger: wandb has to be a section .*, not 'mine'"),
    ],
    ids=lambda value: value.strip()[:40],
)
def test_errors_are_reported(doctor, old, new, message):
    if 'wandb' in message and environment.version('wandb'):
        pytest.skip('wandb is installed')
    status, output = doctor((old, new))
    wrong, _ = findings(output)
    assert status == 1
    assert re.search(message, '\n'.join(wrong) or output), output


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('  ema_decay:', '  ema_decya:', "train: unknown option 'ema_decya'. Did you mean 'ema_decay'?"),
        ('network_d:\n', 'manual_sede: 1\nnetwork_d:\n', "manual_sede .*Did you mean 'manual_seed'?"),
        ('gt_size: 64', 'gt_size: 70', 'gt_size: 70 is not a multiple of 4: the network pads every crop to 72'),
        (
            'end_iter: 400',
            'end_iter: 300',
            r'end_iter: 300 is not total_iter \(400\): the learning rate is zero before',
        ),
        ('save_checkpoint_freq: 100', 'save_checkpoint_freq: 500', 'save_checkpoint_freq: 500 is more than the 400'),
        (
            '  ema_decay: 0.99',
            '  accumulate_iters: 3',
            'save_checkpoint_freq is not a multiple of train: accumulate_iters',
        ),
        (
            'calculate_ssim\n      crop_border: 0',
            'calculate_lpips',
            r'metrics: ssim is left out: (cannot import lpips|no weights)',
        ),
    ],
    ids=lambda value: value.strip()[:40],
)
def test_warnings_are_reported(doctor, old, new, message, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))  # without weights
    status, output = doctor((old, new))
    wrong, doubtful = findings(output)
    assert (status, wrong) == (0, [])
    assert [finding for finding in doubtful if re.search(message, finding)] == doubtful != []


@pytest.mark.parametrize(('model', 'told'), [('SRModel', 1), ('HiFaceGANCSRModel', 0)])
def test_regions_that_the_model_ignores_are_reported(model, told):
    options = {'type': 'calculate_psnr', 'crop_border': 0, 'region': 'face'}
    problems = list(check_region('val: metrics: psnr', options, model))
    assert [problem.what for problem in problems] == told * [
        'val: metrics: psnr: SRModel ignores region and measures the whole image.'
    ]


def lose_a_key(database: Path) -> None:
    with lmdb.open(str(database)) as env, env.begin(write=True) as transaction:
        assert transaction.delete(b'00003')


def spoil_an_image(database: Path) -> None:
    with lmdb.open(str(database)) as env, env.begin(write=True) as transaction:
        transaction.put(b'00003', b'no image')


def cut_short(database: Path) -> None:
    os.truncate(database / 'data.mdb', 65536)


def lose_the_list(database: Path) -> None:
    (database / 'meta_info.txt').unlink()


def overwrite(database: Path) -> None:
    (database / 'data.mdb').write_bytes(b'no database' * 10_000)


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lose_a_key, r'(train|heldout)\.lmdb lacks 1 of 6 images .* such as 00003'),
        (spoil_an_image, "key '00003' of .* is not an image"),
        (cut_short, r'data\.mdb is truncated: 65,536 of [\d,]+ bytes'),
        (lose_the_list, r'(train|heldout)\.lmdb has no meta_info\.txt'),
        (overwrite, r'(train|heldout)\.lmdb/data\.mdb is not a database'),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)
def test_damaged_databases_are_reported(doctor, damage, message, tmp_path):
    for name in DATABASES:
        damage(tmp_path / name)
    status, output = doctor()
    wrong, _ = findings(output)
    assert status == 1
    assert [
        phase
        for phase in ('train', 'val')
        for finding in wrong
        if finding.startswith(f'datasets: {phase}: ') and re.search(message, finding)
    ] == ['train', 'val']


PERCEPTUAL = (
    '  gan_opt:',
    '  perceptual_opt:\n    type: PerceptualLoss\n    layer_weights: {relu1_1: 1.0}\n    vgg_type: vgg19\n  gan_opt:',
)


def test_missing_weights_of_the_perceptual_loss_are_reported(doctor, monkeypatch, tmp_path):
    def no_network(*_, **__):
        raise URLError('no network')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(training, 'urlopen', no_network)
    status, output = doctor(PERCEPTUAL)
    assert status == 1
    assert 'vgg19-dcbb9e9d.pth is not on this machine and cannot be downloaded (no network)' in output
    assert f'to {tmp_path}/hub/checkpoints' in output


def test_weights_of_another_width_are_reported_with_the_right_one(doctor, tmp_path):
    torch.save({'params_ema': CSRGenerator(num_feat=8).state_dict()}, tmp_path / 'wider.pth')
    status, output = doctor(('pretrain_network_g: ~', f'pretrain_network_g: {tmp_path}/wider.pth'))
    assert status == 1
    assert re.search(r'(?s)The model fails: .*wider\.pth.*num_feat: 8', output)


@pytest.mark.parametrize(
    ('free', 'status', 'message'),
    [
        (2e5, 1, 'WRONG: .* 2 checkpoints take'),
        (2e6, 0, 'doubtful: .*; 400 checkpoints .*\n.*keep_last: [1-3] '),
    ],
)
def test_too_little_disk_space_for_checkpoints_is_reported(doctor, monkeypatch, free, status, message):
    usage = shutil.disk_usage('/')._replace(free=free)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    found, output = doctor(('save_checkpoint_freq: 100', 'save_checkpoint_freq: 1'))
    assert found == status
    assert re.search(message, output)


@pytest.mark.parametrize('trained', [True, False])
def test_options_of_a_test_are_checked_for_a_test(doctor, tmp_path, trained):
    weights = tmp_path / 'net_g.pth'
    if trained:
        torch.save({'params_ema': CSRGenerator(num_feat=4, preset='fast').state_dict()}, weights)
    text = (REPOSITORY / 'options/test_hifacegan_demo.yml').read_text().replace('num_feat: 16', 'num_feat: 4')
    text = text.replace('datasets/demo/', f'{tmp_path}/')
    status, output = doctor(text=re.sub('pretrain_network_g: .*', f'pretrain_network_g: {weights}', text))
    missing = [] if trained else [f'path: pretrain_network_g: {weights} does not exist.']
    assert (status, findings(output)[0]) == (len(missing), missing)


def test_missing_options_of_data_sets_are_not_reported_as_damage(doctor, tmp_path):
    """Also for the host's data sets, which look up the option only when they read an image."""
    _, output = doctor(('gt_size: 64', 'gt_sise: 64'))
    assert "unknown option 'gt_sise'" in output and 'verify-lmdb' not in output
    of_host = ('type: DegradationDataset', 'type: PairedImageDataset\n    dataroot_lq: ' + str(tmp_path / DATABASES[0]))
    _, output = doctor(of_host, ('gt_size: 64', 'gt_sise: 64'))
    assert 'PairedImageDataset needs gt_size.' in output and 'verify-lmdb' not in output


def test_a_network_for_grey_images(doctor):
    grey = [('type: CSRGenerator', 'type: CSRGenerator\n  num_in_ch: 1')]
    status, output = doctor(*grey)
    assert status == 1 and 'network_d: num_in_ch: 1 and num_out_ch: 1' in output
    grey.append(('num_d: 2', 'num_d: 2\n  num_in_ch: 1\n  num_out_ch: 1'))
    status, output = doctor(*grey, iterate=True)
    wrong, doubts = findings(output)
    assert (status, wrong) == (0, []) and len(doubts) == 2
    assert all('its noise is weaker than in the recipe' in doubt for doubt in doubts)
    status, output = doctor(*grey, ('DegradationDataset', 'DegradationDataset\n    color: grey'), iterate=True)
    assert (status, findings(output)) == (0, ([], []))


def test_validation_on_training_images_is_reported(doctor, tmp_path):
    same = ('heldout.lmdb', 'train.lmdb')
    _, doubts = findings(doctor(same)[1])
    assert [doubt for doubt in doubts if doubt.startswith('datasets: val: 6 of 6 images are also used for training')]
    for name, keys in (('train', '012'), ('overlap', '25'), ('others', '345')):
        (tmp_path / f'{name}.txt').write_text(''.join(f'0000{key}\n' for key in keys))
    listed = ('    gt_size: 64', f'    meta_info_file: {tmp_path}/train.txt\n    gt_size: 64')
    for name, shared in (('overlap', '1 of 2'), ('others', None)):
        of_validation = ('  val:\n', f'  val:\n    meta_info_file: {tmp_path}/{name}.txt\n')
        _, doubts = findings(doctor(same, listed, of_validation)[1])
        told = [doubt for doubt in doubts if 'are also used for training' in doubt]
        assert len(told) == bool(shared) and all(f'datasets: val: {shared} images' in line for line in told)


@pytest.mark.parametrize('wrong', [None, 'net_g.pth', 'heldout.lmdb', 'calculate_psnr', 'restorers:'])
def test_options_of_comparisons_are_checked(doctor, tmp_path, monkeypatch, wrong):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    torch.save({'params_ema': CSRGenerator(num_feat=4, preset='fast').state_dict()}, tmp_path / 'net_g.pth')
    text = (REPOSITORY / 'options/compare_demo.yml').read_text().replace('datasets/demo/', f'{tmp_path}/')
    text = re.sub('pretrain_network_g: .*', f'pretrain_network_g: {tmp_path}/net_g.pth', text)
    status, output = doctor(text=text if wrong is None else text.replace(wrong, f'not_{wrong}'))
    told, doubts = findings(output)
    count = 0 if wrong is None else 2 if wrong == 'restorers:' else 1  # restorers are missing, not_restorers is unknown
    assert (status, len(told)) == (min(count, 1), count), output
    if wrong in (None, 'net_g.pth'):
        assert [doubt.split(':')[:2] for doubt in doubts] == [['metrics', ' LPIPS is left out']]
    assert all(wrong.strip(':') in line for line in told)


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('', 'holds no options'),
        ('- a\n- b', 'holds no options'),
        ('name: 2024-13-01', 'cannot be read as YAML: month'),
        ('name: &name [*name]', 'cannot be read as YAML: maximum recursion'),
        (None, 'cannot be read: Is a directory'),
    ],
)
def test_files_without_options_are_reported(tmp_path, capsys, text, told):
    file = tmp_path / 'options.yml'
    file.mkdir() if text is None else file.write_text(text)
    assert command.run(argparse.Namespace(opt=file, iterate=False)) == 1
    assert f'{file} {told}' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('versions', 'message'),
    [
        ({'numpy': '1.20.0'}, 'hifacegan-plugin needs numpy>=1.24; 1.20.0 is installed'),
        ({'lmdb': None}, 'hifacegan-plugin needs lmdb>=1.4, which is not installed'),
        ({'torch': '2.4.0'}, r'torchvision needs torch.*; 2\.4\.0 is installed'),
        ({'basicsr': '1.4.2'}, 'Both basicsr and basicsr-fixed are installed'),
        ({'opencv-python': None, 'opencv-python-headless': '4.10'}, ''),
    ],
    ids=str,
)
def test_unsupported_versions_are_reported(monkeypatch, versions, message):
    true_version = environment.version
    monkeypatch.setattr(environment, 'version', lambda name: versions.get(name, true_version(name)))
    monkeypatch.setattr(
        metadata,
        'requires',
        {
            'hifacegan-plugin': [
                'numpy>=1.24',
                'lmdb>=1.4',
                'torch>=2.4',
                'opencv-python>=4.8',
                "ruff>=99; extra == 'x'",
            ],
            'torchvision': ['torch==2.14.1'],
        }.__getitem__,
    )
    monkeypatch.setattr(environment, 'check_gpu', lambda: ())
    found = '\n'.join(finding.what for finding in environment.check_environment())
    assert re.fullmatch(f'{message}.*' if message else '', found), found


def test_a_host_that_cannot_be_imported_stops_the_doctor(monkeypatch, tmp_path, capsys):
    def register():
        raise ImportError('The host BasicSR cannot be imported: pip install basicsr-fixed.')

    monkeypatch.setattr(host, 'register', register)
    assert command.run(argparse.Namespace(opt=tmp_path / 'any.yml', iterate=False)) == 1
    output = capsys.readouterr().out
    assert 'WRONG: The host BasicSR cannot be imported: pip install basicsr-fixed.' in output
    assert 'is not checked' in output


def test_a_network_that_takes_a_guide_needs_one():
    opt, item = {'network_g': {'type': 'GuidedRestorer'}}, {'lq': torch.zeros(3, 8, 8)}
    (problem,) = check_guide('datasets: val', item, opt)
    assert problem.stops and problem.what.startswith('datasets: val: GuidedRestorer takes a guide')
    assert not [*check_guide('', item | {'guide': item['lq']}, opt)]
    assert not [*check_guide('', item, {'network_g': {'type': 'EDSR'}})]
