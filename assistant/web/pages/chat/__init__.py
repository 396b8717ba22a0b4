"""The chat's tab."""
