"""The networks that options/peers and options/faces_peers compare: all are trained in the same way."""

from __future__ import annotations

CSR_PEER = """
    type: CSRGenerator
    num_feat: 16
    variant: {variant}
    norm: batch
    global_residual: {global_residual}
"""

PEERS: dict[str, tuple[str, str]] = {
    'csr': (
        "The paper's network, but it predicts a correction of its input.",
        CSR_PEER.format(variant='csr', global_residual='true'),
    ),
    'csr_plain': (
        "The paper's network unchanged: it predicts the image itself.",
        CSR_PEER.format(variant='csr', global_residual='false'),
    ),
    'csr_fast': ('The fast CSR network (preset: fast).', """
        type: CSRGenerator
        preset: fast
        num_feat: 16
    """),
    'lip_spade': (
        "The paper's LIP-SPADE baseline: starts from the last suppression level, and the image steers it.",
        CSR_PEER.format(variant='lip_spade', global_residual='true'),
    ),
    'spade': (
        "The paper's baseline without suppression.", CSR_PEER.format(variant='spade', global_residual='true'),
    ),
    'vae': (
        "The paper's baseline that starts from a latent code of the image.",
        CSR_PEER.format(variant='vae', global_residual='true'),
    ),
    'guided': ("Restoring by a guide, another image of the same person (GFRNet; Li et al., ECCV 2018).", """
        type: GuidedRestorer
        num_feat: 28
    """),
    'basicsr_hifacegan': ("BasicSR's own HiFaceGAN, which is the LIP-SPADE baseline.", """
        type: HiFaceGAN
        num_feat: 16
        crop_size: 64
        norm_g: spectralspadeinstance3x3  # its batch norm ruins the output when testing one image at a time
    """),
    'edsr': ('EDSR (Lim et al., CVPRW 2017), without its upsampling.', """
        type: EDSR
        num_in_ch: 3
        num_out_ch: 3
        num_feat: 32
        num_block: 12
        upscale: 1
        img_range: 1.0
    """),
    'ridnet': ('RIDNet (Anwar and Barnes, ICCV 2019), made for denoising.', """
        type: RIDNet
        in_channels: 3
        mid_channels: 32
        out_channels: 3
        num_block: 3
        img_range: 1.0
        rgb_mean: [0.0, 0.0, 0.0]  # the host adds its mean to the correction that the network predicts
    """),
    'rrdbnet': (
        'RRDBNet, the network of ESRGAN (Wang et al., ECCVW 2018); at scale 1 it works on 4x4 blocks of pixels.',
        """
        type: RRDBNet
        num_in_ch: 3
        num_out_ch: 3
        scale: 1
        num_feat: 32
        num_block: 16
        num_grow_ch: 16
    """),
    'swinir': ('SwinIR (Liang et al., ICCVW 2021), as for denoising.', """
        type: SwinIR
        img_size: 64
        embed_dim: 36
        depths: [6, 6]
        num_heads: [6, 6]
        window_size: 8
        mlp_ratio: 2.0
        upscale: 1
        upsampler: ~
        img_range: 1.0
    """),
}  # fmt: skip


def learning_sooner(purpose: str, network: str) -> tuple[str, str]:
    """Return a peer with one of the paper's networks, with initial weights that suit small budgets."""
    return purpose, f'{network.rstrip()}\n    init: pytorch  # with xavier, the network hardly learns in this time\n'


SIDE_OF_PORTRAITS = 256  # in pixels; the peers on faces are trained and measured at this size

# The peers of the paper's comparison, the fast CSR network, and the host's best-known networks.
PEERS_ON_FACES: dict[str, tuple[str, str]] = {
    **{name: learning_sooner(*PEERS[name]) for name in ('csr', 'lip_spade', 'spade', 'vae')},
    'csr_fast': (PEERS['csr_fast'][0], """
        type: CSRGenerator
        preset: fast
        num_feat: 22
        num_scales: 5
    """),
    'stylegan': ('An encoder that steers a StyleGAN2 (pSp, GFP-GAN; both CVPR 2021), from scratch.', f"""
        type: StyleGANRestorer
        num_feat: 28
        out_size: {SIDE_OF_PORTRAITS}
        num_style_feat: 128
        channel_multiplier: 2
        narrow: 0.3125
    """),
    **{name: PEERS[name] for name in ('guided', 'edsr', 'rrdbnet', 'swinir', 'basicsr_hifacegan')},
}  # fmt: skip

# Options that only one peer has: losses on its additional outputs, and additional inputs.
OF_ITS_OWN: dict[str, dict[str, str | None]] = {
    'vae': {
        'train:kl_opt': """# on the latent code
            type: KLDivergenceLoss
            loss_weight: 0.05
        """,
    },
    'guided': {
        'datasets:train:guide': '{}  # a second view of each image; other images of the person: docs/degradations.md',
        'datasets:val:guide': '{}',
        'train:warping_opt': """# compares the warped guide with the ground truth
            type: L1Loss
            loss_weight: 0.5
        """,
        'train:flow_opt': """# keeps the flow that warps the guide smooth
            type: WeightedTVLoss
            loss_weight: 0.1
        """,
    },
}
