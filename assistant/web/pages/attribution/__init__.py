"""The tab of sources, and the marks in a reply."""
