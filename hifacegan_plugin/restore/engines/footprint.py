"""How much memory restoring takes, and how much is available."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

from hifacegan_plugin.archs.csr.fast import FastCSR
from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.archs.csr.paper import PaperCSR
from hifacegan_plugin.restore.engines.devices import CPU, unused_memory
from hifacegan_plugin.restore.engines.exported import EXPORTED
from hifacegan_plugin.restore.engines.held_memory import measure_bytes_per_pixel
from hifacegan_plugin.restore.engines.inference import DTYPES
from hifacegan_plugin.weights import Network, RecognisedNetwork

GIB = 1 << 30
MEMORY = 3 * GIB  # default limit for an image on a CPU
SHARE_OF_A_CARD = 0.85  # of the free memory of a GPU; fragmentation and cuDNN workspaces take the rest


class Numbers(NamedTuple):
    """The peak count of numbers in memory for each pixel of an image."""

    features: float  # multiplied by num_feat
    images: float  # float32, multiplied by the channels of the image
    in_dtype: bool = False  # features are stored in the dtype of the computation, not in float32


# Measured for torch; an upper estimate for the others. The fast network takes the same in any engine.
_PAPER_IN_ONE_GO = Numbers(16, 6)
ON_CPU: dict[type[CSRNetwork], dict[str, Numbers]] = {
    PaperCSR: {
        'torch': Numbers(2.8, 6),
        'frugal': Numbers(0.8, 6),
        **dict.fromkeys(('compiled', *EXPORTED), _PAPER_IN_ONE_GO),
    },
    FastCSR: dict.fromkeys(('torch', 'compiled', *EXPORTED), Numbers(29, 6)),
}
# A GPU uses strips only in `frugal` mode. Measured on an NVIDIA H200 in TF32 and float16 (docs/gpu.md), except
# `frugal`, whose figure was measured on a CPU.
ON_CARD: dict[type[CSRNetwork], dict[str, Numbers]] = {
    PaperCSR: {
        **dict.fromkeys(('torch', 'compiled'), Numbers(10.5, 3, in_dtype=True)),
        'frugal': Numbers(0.8, 6),
    },
    FastCSR: dict.fromkeys(('torch', 'compiled'), Numbers(17, 6)),  # float16 takes more than half the memory of float32
}


MEASURED_SIDE = 32  # pixels, of the test image for networks that the tables do not list
_measured: WeakKeyDictionary[RecognisedNetwork, int] = WeakKeyDictionary()


def engines_by_memory(generator: Network, engine: str) -> tuple[str, ...]:
    """Return the engine and those that take less memory, in falling order; ``frugal`` takes the least."""
    names = (engine, 'torch', 'frugal') if isinstance(generator, PaperCSR) else (engine,)
    return tuple(dict.fromkeys(names))


def on_card(engine: str, device: str) -> bool:
    """Return whether an engine, or ``frugal``, uses an accelerator whose memory torch can query."""
    return engine not in EXPORTED and device != CPU


def bytes_per_pixel(generator: Network, engine: str, dtype: str, device: str) -> int:
    """Return the bytes that an engine, or ``frugal``, takes for each pixel of an image."""
    if isinstance(generator, RecognisedNetwork):
        return _bytes_of_recognised(generator)
    table = ON_CARD if on_card(engine, device) else ON_CPU
    (numbers,) = (by_engine[engine] for kind, by_engine in table.items() if isinstance(generator, kind))
    width = DTYPES[dtype].itemsize if numbers.in_dtype else 4
    return int(width * numbers.features * generator.num_feat + 4 * numbers.images * generator.num_in_ch)


def free_memory(engine: str, device: str) -> int:
    """Return the default limit in bytes for an image in an engine, or ``frugal``."""
    return int(SHARE_OF_A_CARD * unused_memory(device)) if on_card(engine, device) else MEMORY


def _bytes_of_recognised(network: RecognisedNetwork) -> int:
    """Measure a network once; 0 for a network with a fixed input size, which cannot use less memory."""
    if network.only_side:
        return 0
    if network not in _measured:
        side = max(network.smallest_side, MEASURED_SIDE)
        side = -(-side // network.multiple) * network.multiple
        _measured[network] = measure_bytes_per_pixel(network, network.num_in_ch, side)
    return _measured[network]
