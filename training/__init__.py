"""Training: how the embedded checkpoint is made, from source text to weights. See README.md."""
