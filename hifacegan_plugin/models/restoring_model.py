"""The BasicSR model that tests a generator: it loads weights, restores images and computes metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.models.base_model import BaseModel
from basicsr.utils import tensor2img
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hifacegan_plugin.images.channels import channels_of
from hifacegan_plugin.metrics.building import build_metrics
from hifacegan_plugin.models.batch import prepare_batch
from hifacegan_plugin.models.loading import load_weights
from hifacegan_plugin.models.named_classes import problems_of_classes
from hifacegan_plugin.models.validation import Validation, log_figures
from hifacegan_plugin.schema.problem import raise_first
from hifacegan_plugin.system.memory import keep_freed_memory


class RestoringModel(BaseModel):  # type: ignore[misc]  # the host has no types
    """Restores images with any generator of BasicSR's registry and computes metrics.

    Args:
        opt: options of the experiment, as BasicSR's ``parse_options`` returns them.

    Attributes:
        net_g: the generator, wrapped for distributed training if necessary.
        metric_results: values of the last validation by name of the metric.

    Raises:
        ValueError: a class or function that the options name does not exist or does not have an argument.
    """

    lq: Tensor
    guide: Any  # Tensor, or None if the generator takes no guide
    gt: Any  # Tensor, or None if the ground truth is unknown
    output: Tensor

    def __init__(self, opt: dict[str, Any]) -> None:
        raise_first(problems_of_classes(opt))
        metrics = build_metrics((opt.get('val') or {}).get('metrics'))
        super().__init__(opt)
        self.validator = Validation(opt, metrics, self.restore, self.stop_requested)
        network = self.build_generator()
        self.takes_guide = getattr(network, 'takes_guide', False)
        self.net_g = self.model_to_device(network)
        self.print_network(self.net_g)
        self.load_pretrained(self.net_g, 'network_g', opt['path'].get('param_key_g', 'params'))
        if self.device.type == 'cpu':
            keep_freed_memory()

    def build_generator(self) -> nn.Module:
        """Build the generator, on the CPU."""
        return build_network(self.opt['network_g'])

    def stop_requested(self) -> bool:
        """Return whether to interrupt a validation."""
        return False

    def load_pretrained(self, net: nn.Module, section: str, param_key: str = 'params') -> None:
        """Load the weights ``path: pretrain_<section>``, if given. BasicSR also sets this option to resume."""
        path = self.opt['path']
        if path.get(f'pretrain_{section}'):
            label = section.removeprefix('network_')
            self.load_network(net, path[f'pretrain_{section}'], path.get(f'strict_load_{label}', True), param_key)

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str = 'params') -> None:
        """Override BasicSR's method; see :func:`~hifacegan_plugin.models.loading.load_weights`."""
        load_weights(self.get_bare_model(net), load_path, strict, param_key)

    def feed_data(self, data: dict[str, Any]) -> None:
        """Set the batch to process; see :func:`~hifacegan_plugin.models.batch.prepare_batch`.

        Raises:
            ValueError: the network takes a guide, but the batch has none.
        """
        if self.takes_guide and 'guide' not in data:
            raise ValueError(
                f'network_g: {self.opt["network_g"]["type"]} needs a guide for each image, but the data set returns '
                'none: set guide: in its options (docs/degradations.md).'
            )
        names = ['lq', 'guide', 'gt'] if self.takes_guide else ['lq', 'gt']
        images = prepare_batch(data, names, self.device, channels_of(self.opt['network_g']))
        self.lq, self.guide, self.gt = images['lq'], images.get('guide'), images.get('gt')
        self.paths = data.get('lq_path', [])

    def inputs(self) -> list[Tensor]:
        """Return the inputs of the generator."""
        return [self.lq] if self.guide is None else [self.lq, self.guide]

    def test(self) -> None:
        """Restore ``self.lq`` with the averaged generator or, without EMA, with the trained one."""
        network = getattr(self, 'net_g_ema', None) or self.get_bare_model(self.net_g)
        was_training = network.training
        network.eval()
        try:
            with torch.no_grad():
                self.output = network(*self.inputs())
        finally:  # training continues even if an image cannot be restored
            network.train(was_training)

    def get_current_visuals(self) -> dict[str, Tensor]:
        """Return the images of the last batch on the CPU: ``lq``, ``result`` and, if known, ``gt``."""
        images = {'lq': self.lq, 'result': self.output, 'gt': self.gt}
        return {name: image.detach().cpu() for name, image in images.items() if image is not None}

    def restore(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        """Restore a batch of one image; return ``lq``, ``result`` and, if known, ``gt``, uint8 BGR or grey.

        Raises:
            ValueError: the network returns NaN or infinite values.
        """
        self.feed_data(batch)
        self.test()
        visuals = self.get_current_visuals()
        del self.lq, self.guide, self.output, self.gt
        if not visuals['result'].isfinite().all():
            raise ValueError('the network returns NaN or infinite values')
        return {name: tensor2img(image) for name, image in visuals.items()}

    def dist_validation(
        self, dataloader: DataLoader[Any], current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Validate with all processes, each on a part of the data set; see :meth:`nondist_validation`."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(
        self, dataloader: DataLoader[Any], current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Restore a data set, compute ``val: metrics``, and log the values.

        Args:
            dataloader: data loader of the data set.
            current_iter: iteration of a training; in a test, the name of the experiment.
            tb_logger: TensorBoard writer, or None.
            save_img: whether to write the restored images.

        Raises:
            ValueError: a metric needs ground truth that the data set does not have.
            RuntimeError: no image could be restored in a test.
        """
        dataset: Any = dataloader.dataset
        figures = self.validator.run(dataset, current_iter, tb_logger, save_img)
        if figures:
            self.metric_results = figures
            log_figures(dataset.opt['name'], figures, {}, current_iter, tb_logger)
