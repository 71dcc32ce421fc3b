"""The pretrained networks in this package; their model cards describe training data and quality."""

from pathlib import Path

_FOLDER = Path(__file__).parents[1] / 'pretrained'

# benchmarks/train_pretrained.py trains them under the same names.
PACKAGED = {name: _FOLDER / f'{name}.safetensors' for name in ('general', 'faces')}
