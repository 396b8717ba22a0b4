"""The playground: a raw prompt and its continuation; what a prompt template does to a model.

Knows chats and engines, not pages. `complete` is completion.py's; the measuring is evaluate.py's,
from the command line `python -m assistant.playground eval`.
"""

from assistant.playground.completion import complete, samples

__all__ = ["complete", "samples"]
