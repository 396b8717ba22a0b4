"""Engines: token ids in, pieces of text out. protocol.py is the door, open.py opens one."""
