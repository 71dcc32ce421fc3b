"""What the files of a checkpoint hold: tensors and plain values, which load without executing code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import nn

import hifacegan_plugin

Content = dict[str, Any]  # of a file

# The networks in each file, by the keys that they stand under, and the section of their options.
FILES = {
    'net_g': ({'params': 'net_g', 'params_ema': 'net_g_ema'}, 'network_g'),
    'net_d': ({'params': 'net_d'}, 'network_d'),
}


def network_files(networks: Mapping[str, nn.Module], opt: Mapping[str, Any]) -> dict[str, Content]:
    """Return the content of each network's file by its name: weights, and the options that rebuild the network.

    Args:
        networks: ``net_g`` and, where there are any, its average ``net_g_ema`` and ``net_d``; not wrapped.
        opt: options of the experiment.
    """
    files = {}
    for file, (keys, section) in FILES.items():
        if file in networks:
            weights = {key: _weights(networks[name]) for key, name in keys.items() if name in networks}
            files[file] = {**weights, section: dict(opt[section]), 'plugin_version': hifacegan_plugin.__version__}
    return files


def state_file(state: Mapping[str, Any], opt: Mapping[str, Any]) -> Content:
    """Return the content of the file of a training state: the state, and which training it is of."""
    options = json.loads(json.dumps(opt, default=str))
    return {**state, 'options': options, 'plugin_version': hifacegan_plugin.__version__}


def _weights(network: nn.Module) -> Content:
    return {name: value.cpu() for name, value in network.state_dict().items()}
