"""Tech Assistant: a base code model, made into a technical assistant by a prompt."""

__version__ = "0.1.0"
