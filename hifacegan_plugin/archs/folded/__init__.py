"""The paper's network rewritten for inference: normalisations folded into convolutions, worked on in strips of rows."""
