"""A checkpoint: found, checked, and read into tensors that fit the device."""
