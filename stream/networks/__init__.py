"""Torch definitions of the networks; needed for training, fitting and importing, never for live capture."""
