"""The images that a restorer has to restore, and its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifacegan_plugin.compare.folder import Folder, open_log, read_log, remove_images

Record = dict[str, Any]  # name of an image, and either time and memory or an error


@dataclass(frozen=True)
class Job:
    """The images that a restorer has to restore.

    Args:
        label: label of the restorer.
        options: options of the restorer.
        folder: output folder, which contains the degraded images.
        images: names of the images of each test set.
        made_from: for each test set, the inputs of the restored images; if they change, images are restored again.
    """

    label: str
    options: dict[str, Any]
    folder: Folder
    images: dict[str, list[str]]
    made_from: dict[str, dict[str, Any]]

    def records(self, test_set: str) -> list[Record]:
        """Return the records of all images of a test set that were tried, including those that failed."""
        return read_log(self._log(test_set), self.made_from[test_set])

    def done(self, test_set: str) -> list[Record]:
        """Return the records of the restored images of a test set."""
        return [
            record
            for record in self.records(test_set)
            if 'error' not in record and self.folder.image(test_set, self.label, record['name']).exists()
        ]

    def is_done(self) -> bool:
        """Return whether all images are restored."""
        return all(len(self.done(test_set)) == len(names) for test_set, names in self.images.items())

    def remove_outdated_images(self) -> None:
        """Remove images that were restored from other inputs."""
        for test_set in self.images:
            if not self.done(test_set):
                remove_images(self.folder, test_set, self.label)

    @contextmanager
    def remaining(self, test_set: str) -> Iterator[tuple[list[str], Callable[[Record], None]]]:
        """Yield the names of the images still to restore, and a function that logs the record of an image."""
        done = self.done(test_set)
        names = {record['name'] for record in done}
        with open_log(self._log(test_set), self.made_from[test_set], done) as append:
            yield [name for name in self.images[test_set] if name not in names], append

    def _log(self, test_set: str) -> Path:
        return self.folder.log(test_set, self.label, 'restored')
