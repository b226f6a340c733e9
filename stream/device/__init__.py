"""Frames that stay on an NVIDIA GPU."""
