"""Prosopon: a camera becomes a live 3D face.

Importing this package is cheap: it loads no camera, model, GPU or graphics library.
"""

__version__ = "0.1.0"
