"""What several test files share."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def reference_dir() -> Path:
    """Numbers of the reference implementation, which live beside the repository where they are at hand."""
    folder = REPOSITORY.parent / 'shared/reference'
    if not folder.is_dir():
        pytest.skip(f'the reference numbers are not at hand ({folder.name}/ beside the repository)')
    return folder
