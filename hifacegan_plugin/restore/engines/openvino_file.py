"""Networks as files for OpenVINO, and OpenVINO, which runs them."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch

from hifacegan_plugin.restore.engines.devices import CPU
from hifacegan_plugin.restore.engines.inference import INFERENCE, Engine, network_for, noise
from hifacegan_plugin.weights import Network


def write_openvino(generator: Network, path: Path, dtype: str = 'float32') -> None:
    """Write the network for OpenVINO (``.xml``, ``.bin`` beside it), with dynamic batch, height and width.

    Always in float32: OpenVINO converts it to ``dtype`` when it loads it.
    """
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # sizes become constants of the trace where they make no difference
        network = openvino.convert_model(network_for(generator), example_input=(noise(generator),))
    network.reshape([-1, generator.num_in_ch, -1, -1])
    openvino.save_model(network, path, compress_to_fp16=False)
    if INFERENCE[type(generator)].start_in_float32:
        keep_start_in_float32(path)


def keep_start_in_float32(path: Path) -> None:
    """Have OpenVINO compute what comes before the first ReLU in float32, whatever it computes the rest in.

    That is the first convolution and its normalisation, for the reason that :meth:`FoldedCSR.compute_in` gives. The
    attribute cannot be set from Python. OpenVINO before 2026 does not know it and passes over it.
    """
    network = ElementTree.parse(path)
    for layer in network.iterfind('layers/layer'):  # each after those that it reads
        if layer.get('type') == 'ReLU':
            break
        attributes = {'name': 'DisablePrecisionConversion', 'version': '0', 'value': 'dynamic:bf16,f16'}
        ElementTree.SubElement(ElementTree.SubElement(layer, 'rt_info'), 'attribute', attributes)
    network.write(path)


def load_openvino(path: Path, dtype: str, device: str = CPU) -> Engine:
    """Run a written network with OpenVINO on the CPU, in bfloat16 if asked."""
    settings = {
        'INFERENCE_NUM_THREADS': torch.get_num_threads(),
        'INFERENCE_PRECISION_HINT': {'float32': 'f32', 'bfloat16': 'bf16'}[dtype],
        'PERFORMANCE_HINT': 'LATENCY',
    }
    network = openvino_core().compile_model(path, 'CPU', settings)
    # Called itself, the network would use one request for all: what one thread asks would get another one's answer.
    return lambda images: network.create_infer_request().infer(images, share_inputs=True)[0]


@functools.cache
def openvino_core() -> Any:
    """Return the one core of this process, which all engines share.

    A core gives the thread a stack for signals, and at its end the one that was there before. Of two that end in the
    order in which they began, the second brings back the first one's, which is gone: the next signal that Python
    handles, such as Ctrl-C, would end the process with a segmentation fault.
    """
    import openvino

    return openvino.Core()
