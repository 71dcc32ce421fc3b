"""Parts of `train_pretrained.py`."""
