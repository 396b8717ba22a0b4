"""One forward pass: layers, attention, and the kernels under them."""
