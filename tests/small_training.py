"""Small trainings in this process: options, batches, models, iterations."""

import torch
from basicsr.models import build_model

import hifacegan_plugin  # noqa: F401 (registers the model)

OPTIONS = {
    'name': 'test',
    'model_type': 'HiFaceGANCSRModel',
    'num_gpu': 0,
    'is_train': True,
    'dist': False,
    'rank': 0,
    'network_g': {'type': 'CSRGenerator', 'num_feat': 4},
    'network_d': {'type': 'MultiscalePatchDiscriminator', 'num_feat': 4, 'n_layers_d': 3},
    'path': {},
    'datasets': {},
    'logger': {'print_freq': 100},
    'train': {
        'total_iter': 1000,
        'ema_decay': 0.9,
        'optim_g': {'type': 'Adam', 'lr': 1e-3, 'betas': [0.0, 0.9]},
        'optim_d': {'type': 'Adam', 'lr': 4e-3, 'betas': [0.0, 0.9]},
        'scheduler': {'type': 'LinearDecayLR', 'start_iter': 2, 'end_iter': 6},
        'pixel_opt': {'type': 'L1Loss', 'loss_weight': 2.0},
        'gan_opt': {'type': 'MultiScaleGANLoss', 'gan_type': 'lsgan', 'loss_weight': 0.5},
        'feature_matching_opt': {'type': 'FeatureMatchingLoss'},
    },
}


def batch(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(2, 3, 64, 64, generator=generator)
    return {'lq': (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1), 'gt': truth}


def built(opt: dict, seed: int = 0):
    torch.manual_seed(seed)
    return build_model(opt)


def train(model, iterations: range):
    for iteration in iterations:
        model.update_learning_rate(iteration)
        model.feed_data(batch(iteration))
        model.optimize_parameters(iteration)
    return model
