"""Write the options files that are derived from the paper's training. `make options` runs this script.

``hifacegan_plugin/options_files/paper.yml`` holds the paper's training: complete, commented and edited by hand.
``FILES`` lists what each options file changes in it. Other files (``compare_*.yml``, ``hifacegan_mild.yml``) are
written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from networks_of_peers import OF_ITS_OWN, PEERS, PEERS_ON_FACES, SIDE_OF_PORTRAITS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hifacegan_plugin.options_files import PAPER
from hifacegan_plugin.options_files.editing import Changes, edit, render
from hifacegan_plugin.options_files.own_training import FAST_FORM

FOLDER = Path(__file__).resolve().parent
# With this line, editors that have a YAML language server complete and check the file.
SCHEMA = '# yaml-language-server: $schema={up}hifacegan_plugin/schema/{kind}.schema.json'

FINE_TUNING: Changes = {
    'name': 'HiFaceGAN_rain_haze',
    'datasets:train:name': 'outdoor',
    'datasets:train:dataroot_gt': 'datasets/outdoor_train.lmdb  # clean images with a shorter side of 384 pixels',
    'datasets:train:degradation': '&degradation {type: OneOf, weights: [3, 3, 3, 1], '
    'steps: [rain, haze, rain_haze, []]}  # [] leaves the image clean',
    'datasets:train:gt_size': '160  # side of the crop; set 256 or more on a GPU, because haze needs a wide view',
    'datasets:train:use_rot': 'false  # rain falls downwards',
    'datasets:train:num_worker_per_gpu': '1',
    'datasets:train:batch_size_per_gpu': '2  # set 8 or more on a GPU',
    'datasets:train:dataset_enlarge_ratio': '40  # passes over the images per epoch, each with new degradations',
    'datasets:val:name': 'outdoor_val',
    'datasets:val:dataroot_gt': 'datasets/outdoor_val.lmdb',
    'network_g': """# has to fit the weights in pretrain_network_g
        type: CSRGenerator
        preset: fast
        num_feat: 32
        num_scales: 4
    """,
    'network_d': None,
    'train:ema_decay': '0.99',
    'train:optim_g': '#',
    'train:optim_g:lr': '!!float 5e-4',
    'train:optim_g:betas': '[0.9, 0.99]',
    'train:optim_d': None,
    'train:scheduler': '# full rate up to start_iter, then a linear decay to zero at end_iter',
    'train:scheduler:start_iter': '400',
    'train:scheduler:end_iter': '1000',
    'train:total_iter': '1000  # for a better network, raise total_iter, start_iter and end_iter together',
    'train:perceptual_opt': None,
    'train:gan_opt': None,
    'train:feature_matching_opt': None,
    'train:net_d_iters': None,
    'train:net_d_init_iters': None,
    'train:pixel_opt': """
        type: L1Loss
        loss_weight: 1.0
    """,
    'path:pretrain_network_g': 'hifacegan_plugin/pretrained/general.safetensors  # or other weights of this network',
    'path:param_key_g': None,
    'val:val_freq': '200',
    'val:metrics:lpips': None,
    'val:metrics:fed': None,
    'logger:print_freq': '10',
    'logger:save_checkpoint_freq': '50',
}

ON_THE_DEMO_IMAGES: Changes = {
    'datasets:train:name': 'demo_train',
    'datasets:train:dataroot_gt': 'datasets/demo/train.lmdb',
    'datasets:train:degradation': '&degradation noise',
    'datasets:train:gt_size': '64',
    'datasets:train:use_rot': 'true',
    'datasets:train:num_worker_per_gpu': '1',
    'datasets:train:batch_size_per_gpu': '8',
    'datasets:train:dataset_enlarge_ratio': '40  # passes over the images per epoch, each with new degradations',
    'datasets:val:name': 'demo_heldout',
    'datasets:val:dataroot_gt': 'datasets/demo/heldout.lmdb',
    'train:scheduler': '#',
    'train:perceptual_opt': None,
    'train:net_d_iters': None,
    'train:net_d_init_iters': None,
    'val:metrics:lpips': None,
    'val:metrics:fed': None,
    'dist_params': None,
}

DEMO: Changes = (
    ON_THE_DEMO_IMAGES
    | FAST_FORM
    | {
        'name': 'HiFaceGAN_demo',
        'train:ema_decay': '0.99',
        'train:scheduler:start_iter': '200',
        'train:scheduler:end_iter': '400',
        'train:total_iter': '400',
        'val:val_freq': '100',
        'logger:print_freq': '10',
        'logger:save_checkpoint_freq': '100',
    }
)


FACE_AND_BACKGROUND: Changes = {
    f'val:metrics:{metric}_{region}': f"""
        type: calculate_{metric}
        crop_border: 0
        region: {region}
    """
    for metric in ('psnr', 'ssim')
    for region in ('face', 'background')
}

FACES: Changes = {
    'name': 'HiFaceGAN_faces',
    'datasets:train:name': 'faces',
    'datasets:train:dataroot_gt': 'datasets/faces/train.lmdb  # 160 portraits',
    'datasets:train:dataset_enlarge_ratio': '60  # passes over the images per epoch, each with new degradations',
    'datasets:val:name': 'faces_test',
    'datasets:val:dataroot_gt': 'datasets/faces/test.lmdb  # 20 other portraits',
    'val:metrics:lpips': '# lpips, fed and regions are skipped, with a message, if packages or weights are missing',
    **FACE_AND_BACKGROUND,
}

FAST_ON_FACES = """# the same network as the packaged one, `faces`
    type: CSRGenerator
    preset: fast
    num_feat: 24
    num_scales: 5
"""

FACES_FAST: Changes = FACES | {
    'name': 'HiFaceGAN_faces_fast',
    'datasets:train:gt_size': '256  # side of the crop',
    'datasets:train:batch_size_per_gpu': '4',
    'network_g': FAST_ON_FACES,
    'network_d:num_feat': '32',
    'network_d:n_layers_d': '3',
    'train:optim_g': '#',
    'train:optim_g:lr': '!!float 5e-4',
    'train:scheduler': '#',
    'train:scheduler:start_iter': '20000',
    'train:scheduler:end_iter': '40000',
    'train:total_iter': '40000',
    'train:perceptual_opt': None,
    'train:gan_opt:loss_weight': '0.01',
    'train:feature_matching_opt:loss_weight': '0.1',
    'train:pixel_opt': DEMO['train:pixel_opt'],
    'val:val_freq': '!!float 5e3',
}


def peer(name: str, network: str) -> Changes:
    """Return the options of a peer. Peers differ only in name and network."""
    return ON_THE_DEMO_IMAGES | {
        'name': f'peer_{name}',
        'manual_seed': '0',
        'network_g': network,
        'network_d': None,
        'train:ema_decay': None,
        'train:optim_g': '#',
        'train:optim_g:lr': '!!float 5e-4',
        'train:optim_g:betas': '[0.9, 0.99]',
        'train:optim_d': None,
        'train:scheduler:start_iter': '1000',
        'train:scheduler:end_iter': '2000',
        'train:total_iter': '2000',
        'train:gan_opt': None,
        'train:feature_matching_opt': None,
        'train:pixel_opt': """
            type: L1Loss
            loss_weight: 1.0
        """,
        'path:param_key_g': None,
        'val:val_freq': '500',
        'logger:print_freq': '50',
        'logger:save_checkpoint_freq': '500',
    }


def testing(changes: Changes) -> Changes:
    """Return the options of a test: the changes, and no training and no discriminator."""
    return {
        'manual_seed': '0',
        'network_d': None,
        'train': None,
        'path': """
            results_root: results  # in the current folder
            pretrain_network_g: ~
            param_key_g: params_ema
            strict_load_g: true
        """,
        'val:val_freq': None,
        'val:save_img': 'true',
        'val:suffix': '~  # suffix of image names; default: the name of the experiment',
        'val:pbar': 'true',
        'val:metrics:lpips': None,
        'val:metrics:fed': None,
        'logger': None,
        'dist_params': None,
    } | changes


TEST: Changes = testing(
    {
        'name': 'HiFaceGAN_test',
        'datasets': """
        test_degraded_here:  # clean images, degraded by a recipe, with the same result on every machine
          name: FFHQ_test
          type: DegradationDataset
          dataroot_gt: datasets/ffhq_512_test.lmdb
          io_backend:
            type: lmdb
          degradation: full
        # test_pairs:  # your own degraded images and their ground truth
        #   name: pairs
        #   type: PairedImageDataset
        #   dataroot_gt: datasets/pairs/gt
        #   dataroot_lq: datasets/pairs/lq
        #   io_backend:
        #     type: disk
        # test_wild:  # degraded images without ground truth; remove the metrics that need it
        #   name: wild
        #   type: SingleImageDataset
        #   dataroot_lq: datasets/wild
        #   io_backend:
        #     type: disk
    """,
        'network_g': """# has to fit the weights
        type: CSRGenerator
        num_feat: 64
        variant: csr  # lip_spade for the published checkpoints and BasicSR's HiFaceGAN
        norm: syncbatch
    """,
        'path:pretrain_network_g': 'experiments/HiFaceGAN_full/models/net_g_latest.pth  # or published weights',
    }
)

NETWORK_OF_DEMO = """# the same as in {file}
        type: CSRGenerator
        preset: fast
        num_feat: 16
    """

DEMO_TEST: Changes = testing(
    {
        'name': 'HiFaceGAN_demo_test',
        'datasets': """
        test:
          name: demo_heldout
          type: DegradationDataset
          dataroot_gt: datasets/demo/heldout.lmdb
          io_backend:
            type: lmdb
          degradation: noise
    """,
        'network_g': NETWORK_OF_DEMO.format(file='hifacegan_demo.yml'),
        'path:pretrain_network_g': 'experiments/HiFaceGAN_demo/models/net_g_latest.pth',
        'val:metrics:lpips': """# skipped, with a message, if its weights are not on this machine
        type: calculate_lpips
    """,
    }
)

TASKS = ('full', 'sr4x', 'mosaic16x', 'noise', 'blur', 'jpeg')  # of the paper, by their recipes

FACES_TEST: Changes = (
    testing(
        {
            'name': 'HiFaceGAN_faces_test',
            'datasets': ''.join(
                f"""
        test_{task}:
          name: {task}
          type: DegradationDataset
          dataroot_gt: datasets/faces/test.lmdb
          io_backend:
            type: lmdb
          degradation: {task}"""
                for task in TASKS
            ),
            'network_g': FAST_ON_FACES,
            'path:pretrain_network_g': 'hifacegan_plugin/pretrained/faces.safetensors  # or those of faces_fast.yml',
            'val:metrics:msssim': """
            type: calculate_msssim
        """,
            'val:metrics:fed': """# face embedding distance
            type: calculate_fed
        """,
            'val:metrics:lle': """# landmark localisation error, in pixels
            type: calculate_lle
        """,
            'val:metrics:niqe': """
            type: calculate_niqe
            crop_border: 0
        """,
        }
    )
    | FACE_AND_BACKGROUND
)

FACES_DEMO: Changes = DEMO | {
    'name': 'HiFaceGAN_faces_demo',
    'datasets:train:name': 'faces',
    'datasets:train:dataroot_gt': FACES['datasets:train:dataroot_gt'],
    'datasets:train:resize': '256  # resizes the portraits, which have 512x512 pixels',
    'datasets:train:use_rot': 'false  # faces are upright',
    'datasets:val:name': 'faces_test',
    'datasets:val:dataroot_gt': FACES['datasets:val:dataroot_gt'],
    'datasets:val:resize': '256',
    'val:val_freq': '400',
}

FACES_DEMO_TEST: Changes = (
    DEMO_TEST
    | {
        'name': 'HiFaceGAN_faces_demo_test',
        'datasets': """
        test:
          name: faces_test
          type: DegradationDataset
          dataroot_gt: datasets/faces/test.lmdb
          io_backend:
            type: lmdb
          resize: 256
          degradation: noise
    """,
        'network_g': NETWORK_OF_DEMO.format(file='faces_demo.yml'),
        'path:pretrain_network_g': 'experiments/HiFaceGAN_faces_demo/models/net_g_latest.pth',
        'val:metrics:lpips': None,
    }
    | FACE_AND_BACKGROUND
)

OF_PEERS = """
The files in this folder differ only in name, network_g and options that only one network has. Images, degradation,
crops, batch size, pixel loss and learning rate are the same. The networks are sized for about the same number of
operations, 1.7 to 2.3 GFLOP per crop, except csr_fast, which takes 0.91. benchmarks/train_peers.py trains all of them
for the same time and compares them."""

OF_FACES_PEERS = """
The files in this folder differ only in name, network_g and options that only one network has. Portraits, degradation,
batch size, pixel loss and learning rate are the same. The networks are sized for about the same number of operations,
26.6 to 34.5 GFLOP per portrait. `benchmarks/train_peers.py --folder faces_peers` trains all of them for the same time
and compares them."""

OF_ABLATIONS = """
The files in this folder differ from options/hifacegan.yml only in name and in what they leave out.
options/compare_ablations.yml compares the trained networks."""


def face_peer(name: str) -> Changes:
    """Return the options of a peer that trains on whole portraits, as StyleGANRestorer and GuidedRestorer need."""
    side = str(SIDE_OF_PORTRAITS)
    larger = {'network_g:crop_size': side} if name == 'basicsr_hifacegan' else {}
    return peer(name, PEERS_ON_FACES[name][1]) | OF_ITS_OWN.get(name, {}) | larger | {
        'name': f'faces_peer_{name}',
        'datasets:train:name': 'faces',
        'datasets:train:dataroot_gt': FACES['datasets:train:dataroot_gt'],
        'datasets:train:degradation': '&degradation full  # or sr4x',
        'datasets:train:resize': f'{side}  # resizes the portraits, which have 512x512 pixels',
        'datasets:train:gt_size': side,
        'datasets:train:use_rot': 'false  # faces are upright',
        'datasets:train:batch_size_per_gpu': '1',
        'datasets:val:name': 'faces_test',
        'datasets:val:dataroot_gt': FACES['datasets:val:dataroot_gt'],
        'datasets:val:resize': side,
    }  # fmt: skip


def task(degradation: str) -> Changes:
    """Return the options of a training for one degradation."""
    return {'name': f'HiFaceGAN_{degradation}', 'datasets:train:degradation': f'&degradation {degradation}'}


def ablation(name: str, changes: Changes) -> Changes:
    """Return the options of the paper's training with a part left out."""
    return {'name': f'ablation_{name}', **changes}


# What each training of the ablation is for, and what it changes.
ABLATIONS: dict[str, tuple[str, Changes]] = {
    'csr': (
        "The paper's full network and objective: the levels of the suppression pyramid steer the replenishment.",
        {},
    ),
    'csr_no_perceptual': ('Without the perceptual loss.', {'train:perceptual_opt': None}),
    'csr_no_feature_matching': ('Without feature matching.', {'train:feature_matching_opt': None}),
    'csr_no_adversarial': (
        'Without the adversarial loss: the discriminator is trained as before, and only its features are matched.',
        {'train:gan_opt:loss_weight': '0'},
    ),
    'lip_spade': (
        'Without nested guidance: replenishment starts from the last suppression level, and the image steers it.',
        {'network_g:variant': 'lip_spade'},
    ),
    'spade': (
        'Without suppression: only replenishment, steered by the image.',
        {'network_g:variant': 'spade'},
    ),
}

# What each file is for, and what it changes.
FILES: dict[str, tuple[str, Changes]] = {
    'hifacegan.yml': ('Face renovation as in the paper: FFHQ at 512x512, all degradations at once.', {}),
    'hifacegan_sr4x.yml': ('4x super-resolution, FFHQ at 512x512, trained as in the paper.', task('sr4x')),
    'hifacegan_mosaic16x.yml': ('16x16 mosaics, FFHQ at 512x512, trained as in the paper.', task('mosaic16x')),
    'hifacegan_noise.yml': (
        'Gaussian, Laplace or Poisson noise, FFHQ at 512x512, trained as in the paper.', task('noise'),
    ),
    'hifacegan_blur.yml': ('Motion or Gaussian blur, FFHQ at 512x512, trained as in the paper.', task('blur')),
    'hifacegan_jpeg.yml': ('JPEG artefacts, FFHQ at 512x512, trained as in the paper.', task('jpeg')),
    'finetune_rain_haze.yml': (
        """Rain and haze: fine-tunes the packaged network `general` on photographs (results: docs/rain_haze.md).
The sizes are chosen for an hour on a CPU.""",
        FINE_TUNING,
    ),
    'hifacegan_demo.yml': (
        """A CSR network on a CPU in minutes: noise removal on the images that `make demo` prepares.
It takes minutes, because it uses the fast network (preset: fast) and small crops. There is no perceptual loss, so no
weights have to be downloaded.""",
        DEMO,
    ),
    'faces.yml': (
        """Face renovation as in the paper, on the 160 portraits of `make faces` instead of FFHQ.
The paper trains on 10,000 images.""",
        FACES,
    ),
    'faces_fast.yml': (
        """The fast network (preset: fast) on the portraits of `make faces`, at 256x256.
There is no perceptual loss, so no weights have to be downloaded.""",
        FACES_FAST,
    ),
    'test_faces.yml': (
        "The paper's tasks on the test portraits of `make faces`; measures face and background apart.", FACES_TEST,
    ),
    'faces_demo.yml': (
        'Like hifacegan_demo.yml, on the portraits of `make faces`. `make demo` uses it if they exist.', FACES_DEMO,
    ),
    'test_faces_demo.yml': (
        'Restores test portraits, which the network of faces_demo.yml has never seen, and measures the result.',
        FACES_DEMO_TEST,
    ),
    'test_hifacegan.yml': ('Restores test sets and measures the result.', TEST),
    'test_hifacegan_demo.yml': (
        'Restores the held-out images of `make demo`, which the network has never seen, and measures the result.',
        DEMO_TEST,
    ),
} | {
    f'ablations/{name}.yml': (about + OF_ABLATIONS, ablation(name, changes))
    for name, (about, changes) in ABLATIONS.items()
} | {
    f'peers/{name}.yml': (about + OF_PEERS, peer(name, network) | OF_ITS_OWN.get(name, {}))
    for name, (about, network) in PEERS.items()
} | {
    f'faces_peers/{name}.yml': (PEERS_ON_FACES[name][0] + OF_FACES_PEERS, face_peer(name)) for name in PEERS_ON_FACES
}  # fmt: skip


def make(file: str) -> str:
    """Return the text of one of ``FILES``."""
    about, changes = FILES[file]
    options = edit(PAPER, changes)
    first, *more = about.splitlines()
    command = 'test' if file.startswith('test') else 'train'
    usage = f'  python -m basicsr.{command} -opt options/{file}'
    schema = SCHEMA.format(up='../' * (file.count('/') + 1), kind={'train': 'training'}.get(command, command))
    options.inside['name'].above = [schema, '', *(f'# {line}' for line in (first, usage, *more))]
    return '\n'.join([*render(options), ''])


if __name__ == '__main__':
    for file in FILES:
        (FOLDER / file).write_text(make(file), encoding='utf-8')
