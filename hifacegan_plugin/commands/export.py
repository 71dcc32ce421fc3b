"""Export a network to ONNX Runtime or OpenVINO, and check that its output agrees with PyTorch's.

    hifacegan export -w net_g_latest.pth --to onnx -o net_g.onnx
    hifacegan export -w net_g_latest.pth --to openvino -o net_g.xml

Exit status: 0 done, 2 nothing was written.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hifacegan_plugin.commands.arguments import output_file
from hifacegan_plugin.commands.failing import fails_on
from hifacegan_plugin.commands.network_options import add_network_options, given_options
from hifacegan_plugin.restore.engines.devices import EngineError
from hifacegan_plugin.restore.engines.exported import EXPORTED, TOLERANCE, export
from hifacegan_plugin.weights import WeightsError, load_generator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan export``."""
    parser.add_argument('-w', '--weights', required=True, type=Path, help='generator weights, .pth or .safetensors')
    parser.add_argument('--to', required=True, choices=EXPORTED, help='the engine')
    parser.add_argument(
        '-o', '--output', required=True, type=output_file, help='file to write: .onnx, or .xml for openvino'
    )
    parser.add_argument(
        '--dtype', default='float32', choices=TOLERANCE, help='precision of an ONNX file (default: float32)'
    )
    add_network_options(parser)


@fails_on(WeightsError, EngineError, OSError)
def run(arguments: argparse.Namespace) -> int:
    """Write the file; 0 if it agrees with torch."""
    generator = load_generator(arguments.weights, **given_options(arguments))
    difference = export(generator, arguments.to, arguments.output, arguments.dtype)
    print(f'{arguments.output}: written; differs from torch by {difference:.1e} at most')
    return 0
