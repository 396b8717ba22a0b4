"""A reply as it is generated: what fits into the window, where it stops, its text."""
