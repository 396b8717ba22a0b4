"""The page: its tabs, its look, and what it says to the server."""
