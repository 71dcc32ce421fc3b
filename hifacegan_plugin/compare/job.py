"""What a restorer has to do in a comparison, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifacegan_plugin.compare.folder import Folder, open_log, read_log, remove_images

Record = dict[str, Any]  # of an image: its name, and its costs or an error


@dataclass(frozen=True)
class Job:
    """What a restorer has to do.

    Args:
        label: of the restorer.
        options: of the restorer.
        folder: the output folder, which holds the images to restore.
        images: names of the images of each test set.
        made_from: of each test set, what the restored images depend on.
    """

    label: str
    options: dict[str, Any]
    folder: Folder
    images: dict[str, list[str]]
    made_from: dict[str, dict[str, Any]]

    def records(self, test_set: str) -> list[Record]:
        """Return what is known of each image of a test set that was tried; the last run may have tried it in vain."""
        return read_log(self._log(test_set), self.made_from[test_set])

    def done(self, test_set: str) -> list[Record]:
        """Return the records of the images of a test set that are restored."""
        return [
            record
            for record in self.records(test_set)
            if 'error' not in record and self.folder.image(test_set, self.label, record['name']).exists()
        ]

    def is_done(self) -> bool:
        """Return whether all images are restored."""
        return all(len(self.done(test_set)) == len(names) for test_set, names in self.images.items())

    def forget_others(self) -> None:
        """Remove images that were made from something else."""
        for test_set in self.images:
            if not self.done(test_set):
                remove_images(self.folder, test_set, self.label)

    @contextmanager
    def proceed(self, test_set: str) -> Iterator[tuple[list[str], Callable[[Record], None]]]:
        """Yield the names of the images that are left to restore, and a function that logs the record of one."""
        done = self.done(test_set)
        names = {record['name'] for record in done}
        with open_log(self._log(test_set), self.made_from[test_set], done) as append:
            yield [name for name in self.images[test_set] if name not in names], append

    def _log(self, test_set: str) -> Path:
        return self.folder.log(test_set, self.label, 'restored')
