"""The engine that computes here: its thread, its requests, and what they share."""
