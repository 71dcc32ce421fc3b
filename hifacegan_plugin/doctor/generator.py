"""The generator of an options file, to ask which images it takes."""

from __future__ import annotations

from typing import Any

import torch

from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.archs.csr_arch import CSRGenerator


def generator_of(opt: dict[str, Any]) -> CSRNetwork | None:
    """Build the generator without memory for its weights; None if it is another one, or its options are wrong."""
    options = dict(opt['network_g'])
    if options.pop('type') != CSRGenerator.__name__:
        return None
    try:
        with torch.device('meta'):
            return CSRGenerator(**options)
    except (TypeError, ValueError, RuntimeError):  # what is wrong is found where the options are checked
        return None
