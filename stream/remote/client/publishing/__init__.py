"""Publishing captured meshes from Python."""
