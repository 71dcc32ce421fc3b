"""Describe this machine, and check that installed packages and GPUs work together."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from hifacegan_plugin.schema.problem import Problem

PLUGIN = 'hifacegan-plugin'
# Each entry lists alternative packages with the same modules.
PACKAGES = (
    ('torch',),
    ('torchvision',),
    ('basicsr-fixed', 'basicsr'),
    ('numpy',),
    ('opencv-python', 'opencv-python-headless'),
    ('lmdb',),
    ('mmengine',),
    ('mmcv-lite', 'mmcv'),
    ('tensorboard', 'tb-nightly'),
)


def describe() -> Iterator[str]:
    """Yield lines that describe this machine."""
    memory = _memory_in_gib()
    yield (
        f'Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} CPU cores'
        + (f', {memory["MemAvailable"]:.1f} of {memory["MemTotal"]:.1f} GiB memory free' if memory else '')
    )
    yield ', '.join(_first_installed(alternatives) for alternatives in PACKAGES)
    if version('torch'):
        yield _devices()


def check_environment() -> Iterator[Problem]:
    """Check that packages are installed in compatible versions, and that torch finds the GPU."""
    yield from check_requirements(PLUGIN)
    if version('torchvision'):
        yield from check_requirements('torchvision')
    yield from check_host()
    if version('torch'):
        yield from check_gpu()


def check_requirements(name: str) -> Iterator[Problem]:
    """Check the requirements of a package against the installed versions."""
    try:
        requirements = [Requirement(line) for line in metadata.requires(name) or ()]
    except metadata.PackageNotFoundError:
        yield Problem(
            f'{name} is not installed, so its requirements are unknown.',
            'pip install -c constraints.txt -e . in its repository',
            stops=False,
        )
        return
    for requirement in requirements:
        if requirement.marker and not requirement.marker.evaluate({'extra': ''}):
            continue
        found = version(requirement.name)
        if found is None:
            if not _has_stand_in(requirement.name):
                yield Problem(f'{name} needs {requirement}, which is not installed.', f'pip install "{requirement}"')
        elif not requirement.specifier.contains(found, prereleases=True):
            yield Problem(f'{name} needs {requirement}; {found} is installed.', f'pip install "{requirement}"')


def check_host() -> Iterator[Problem]:
    """Check that only one of the two packages that contain the host is installed."""
    if version('basicsr') and version('basicsr-fixed'):
        yield Problem(
            'Both basicsr and basicsr-fixed are installed; they overwrite each other.',
            'pip uninstall basicsr, then pip install --force-reinstall --no-deps basicsr-fixed',
            stops=False,
        )


def check_gpu() -> Iterator[Problem]:
    """Check that torch can be imported, and finds a GPU if it is built for CUDA."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a CUDA library is missing
        yield Problem(
            f'torch is installed, but cannot be imported: {error}.',
            'pip install --force-reinstall torch torchvision, in versions that support the driver',
        )
        return
    if torch.version.cuda and not torch.cuda.is_available():
        yield Problem(
            f'torch is built for CUDA {torch.version.cuda}, but finds no GPU: training would run on the CPU.',
            'if there is one, check that nvidia-smi lists it and CUDA_VISIBLE_DEVICES does not hide it',
            stops=False,
        )


def version(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _first_installed(alternatives: tuple[str, ...]) -> str:
    found = [f'{package} {version(package)}' for package in alternatives if version(package)]
    return ' and '.join(found) or f'no {alternatives[0]}'


def _has_stand_in(package: str) -> bool:
    """Return whether an alternative package with the same modules is installed."""
    return any(package in alternatives and any(map(version, alternatives)) for alternatives in PACKAGES)


def _devices() -> str:
    try:
        import torch
    except (ImportError, OSError):
        return 'torch cannot be imported'
    if not torch.cuda.is_available():
        return f'no GPU: training runs on the CPU, {torch.get_num_threads()} threads'
    properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return ', '.join(f'{gpu.name} ({gpu.total_memory / 2**30:.1f} GiB)' for gpu in properties)


def _memory_in_gib() -> dict[str, float]:
    """Return MemTotal, MemAvailable and others from /proc/meminfo; empty if the system is not Linux."""
    file = Path('/proc/meminfo')
    if not file.exists():
        return {}
    lines = (line.split() for line in file.read_text().splitlines())
    return {words[0].rstrip(':'): int(words[1]) / 2**20 for words in lines}
