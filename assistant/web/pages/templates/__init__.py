"""The editor of prompt templates: what its scripts in the browser ask."""
