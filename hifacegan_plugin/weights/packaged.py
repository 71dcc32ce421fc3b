"""The networks that come with the package; each tells by its model card what it learned from, and how well."""

from pathlib import Path

_FOLDER = Path(__file__).parents[1] / 'pretrained'

# benchmarks/train_pretrained.py trains them, by the same names.
PACKAGED = {name: _FOLDER / f'{name}.safetensors' for name in ('general', 'faces')}
