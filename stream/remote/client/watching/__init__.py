"""Watching a session from Python."""
