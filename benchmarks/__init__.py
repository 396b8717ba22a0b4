"""Measurements: each prints a table and the machine that it ran on."""
