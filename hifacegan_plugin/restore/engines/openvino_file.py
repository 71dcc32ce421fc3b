"""Write networks as OpenVINO files, and run them with OpenVINO."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch

from hifacegan_plugin.archs.csr.paper import PaperCSR
from hifacegan_plugin.restore.engines.devices import CPU
from hifacegan_plugin.restore.engines.inference import Engine, network_for, noise
from hifacegan_plugin.weights import Network


def write_openvino(generator: Network, path: Path, dtype: str = 'float32') -> None:
    """Write the network for OpenVINO (``.xml``, ``.bin`` beside it), with dynamic batch, height and width.

    The file is always float32: OpenVINO converts it to ``dtype`` when loading.
    """
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # some sizes become constants in the trace, without harm
        network = openvino.convert_model(network_for(generator), example_input=(noise(generator),))
    network.reshape([-1, generator.num_in_ch, -1, -1])
    openvino.save_model(network, path, compress_to_fp16=False)
    if isinstance(generator, PaperCSR):
        keep_start_in_float32(path)


def keep_start_in_float32(path: Path) -> None:
    """Make OpenVINO compute the layers before the first ReLU in float32, whatever the dtype of the rest.

    These are the first convolution and its normalisation; :meth:`FoldedCSR.compute_in` gives the reason. The attribute
    cannot be set from Python. OpenVINO before 2026 ignores it.
    """
    network = ElementTree.parse(path)
    for layer in network.iterfind('layers/layer'):  # layers are listed after their inputs
        if layer.get('type') == 'ReLU':
            break
        attributes = {'name': 'DisablePrecisionConversion', 'version': '0', 'value': 'dynamic:bf16,f16'}
        ElementTree.SubElement(ElementTree.SubElement(layer, 'rt_info'), 'attribute', attributes)
    network.write(path)


def load_openvino(path: Path, dtype: str, device: str = CPU) -> Engine:
    """Open an exported network with OpenVINO on the CPU, in float32 or bfloat16."""
    settings = {
        'INFERENCE_NUM_THREADS': torch.get_num_threads(),
        'INFERENCE_PRECISION_HINT': {'float32': 'f32', 'bfloat16': 'bf16'}[dtype],
        'PERFORMANCE_HINT': 'LATENCY',
    }
    network = openvino_core().compile_model(path, 'CPU', settings)
    # One request for each call: the compiled model shares a single request, so threads would get each other's results.
    return lambda images: network.create_infer_request().infer(images, share_inputs=True)[0]


@functools.cache
def openvino_core() -> Any:
    """Return the OpenVINO core of this process, which all engines share.

    A core installs a signal stack for the thread, and restores the previous one when it is destroyed. If two cores are
    destroyed in the order of their creation, the second restores the stack of the first, which no longer exists. The
    next signal that Python handles, such as Ctrl-C, would then cause a segmentation fault.
    """
    import openvino

    return openvino.Core()
