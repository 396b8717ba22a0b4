"""Prompt templates: read, checked, and rendered into segments."""
