"""Kernels and their launchers: one signature, several backends by name (`stream.compute.depth_to_mesh`)."""
