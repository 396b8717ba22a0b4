"""Where did this code come from? A corpus, an index of it, overlaps of a text with it, and search.

Stands apart: knows nothing of models, prompts or pages, and needs no server. The web joins replies
and matches.
"""

from assistant.attribution.fulltext import Hit, search
from assistant.attribution.index import Index
from assistant.attribution.overlap import CERTAIN, Match, find_matches

__all__ = ["CERTAIN", "Hit", "Index", "Match", "find_matches", "search"]
