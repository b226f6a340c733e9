"""From a face's depth map to its textured mesh, and to files."""
