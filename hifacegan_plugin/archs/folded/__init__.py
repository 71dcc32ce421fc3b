"""The paper's network rewritten for inference: normalisations folded into convolutions, computed in strips of rows."""
