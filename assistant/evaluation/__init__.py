"""Prompts beside each other on questions: python -m assistant.evaluation eval --help."""
