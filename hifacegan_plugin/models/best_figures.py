"""The best value of each metric in a training, and its iteration."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from hifacegan_plugin.system.files import whole_file

logger = logging.getLogger('basicsr.hifacegan_plugin')

Records = dict[str, dict[str, dict[str, Any]]]


class BestFigures:
    """The best value of each metric on each validation set.

    The values are stored in the checkpoints and in a file next to them, because BasicSR validates after it saves a
    checkpoint.

    Args:
        file: path of the file.

    Attributes:
        records: ``{'better': 'higher' or 'lower', 'val': value, 'iter': iteration}`` by data set and metric, in
            BasicSR's format; the iteration is -1 until an image could be measured.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records: Records = {}

    def update(
        self, data_set: str, figures: Mapping[str, float], directions: Mapping[str, str], iteration: int
    ) -> None:
        """Update the records with the values of a validation and write the file. Equal values replace older ones.

        Args:
            data_set: name of the validation set.
            figures: values by metric; NaN if no image could be measured.
            directions: ``higher`` or ``lower`` by metric.
            iteration: iteration of the validation.
        """
        records = self.records.setdefault(data_set, {})
        for metric, figure in figures.items():
            better = directions[metric]
            worst = -inf if better == 'higher' else inf
            record = records.setdefault(metric, {'better': better, 'val': worst, 'iter': -1})
            if figure >= record['val'] if better == 'higher' else figure <= record['val']:
                record.update(val=figure, iter=iteration)
        self._write()

    def iterations(self, metric: str | None) -> set[int]:
        """Return the iterations with the best values of a metric, one for each validation set that has this metric."""
        return {records[metric]['iter'] for records in self.records.values() if metric in records}

    def resume(self, iteration: int, of_checkpoint: Records) -> None:
        """Load the records from the file, or from the checkpoint if the file belongs to another training.

        Args:
            iteration: iteration of the checkpoint.
            of_checkpoint: records in the checkpoint.
        """
        of_file = self._read()
        later = any(record['iter'] > iteration for records in of_file.values() for record in records.values())
        self.records = of_checkpoint if later or not of_file else of_file

    def _write(self) -> None:
        try:
            with whole_file(self.file) as part:
                part.write_text(json.dumps(self.records, indent=2))
        except OSError as error:
            logger.error(f'The best figures cannot be written: {error}. Training continues.')

    def _read(self) -> Records:
        try:
            return json.loads(self.file.read_text()) if self.file.exists() else {}
        except (OSError, ValueError) as error:  # for example, the file is empty after a power failure
            logger.warning(f'{self.file} cannot be read ({error}). The best figures come from the checkpoint.')
            return {}
