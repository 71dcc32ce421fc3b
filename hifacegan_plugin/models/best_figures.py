"""The best figures of a training and the iterations that had them."""

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
    """The best figure of each metric on each validation set.

    They are stored in a file next to the checkpoints as well as in them, because the host validates after saving.

    Args:
        file: file to keep them in.

    Attributes:
        records: ``{'better': 'higher' or 'lower', 'val': figure, 'iter': iteration}`` by data set and metric, as the
            host keeps them; the iteration is -1 as long as no image could be measured.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records: Records = {}

    def update(
        self, data_set: str, figures: Mapping[str, float], directions: Mapping[str, str], iteration: int
    ) -> None:
        """Take the figures of a validation and write the file; of equal figures the later one is the best.

        Args:
            data_set: name of the validation set.
            figures: figures by metric; NaN where none could be computed.
            directions: ``higher`` or ``lower`` by metric.
            iteration: iteration of the figures.
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
        """Return the iterations with the best figures of a metric, one for each validation set that measured it."""
        return {records[metric]['iter'] for records in self.records.values() if metric in records}

    def resume(self, iteration: int, of_checkpoint: Records) -> None:
        """Resume from the file, or from the figures in the checkpoint if the file belongs to another training run.

        Args:
            iteration: iteration of the checkpoint.
            of_checkpoint: the records that it holds.
        """
        of_file = self._read()
        later = any(record['iter'] > iteration for records in of_file.values() for record in records.values())
        self.records = of_checkpoint if later or not of_file else of_file

    def _write(self) -> None:
        try:
            with whole_file(self.file) as part:
                part.write_text(json.dumps(self.records, indent=2))
        except OSError as error:
            logger.error(f'The best figures cannot be written: {error}. Training goes on.')

    def _read(self) -> Records:
        try:
            return json.loads(self.file.read_text()) if self.file.exists() else {}
        except (OSError, ValueError) as error:  # such as a file that is empty since the machine lost power
            logger.warning(f'{self.file} cannot be read ({error}). The best figures are those of the checkpoint.')
            return {}
