"""The synthetic face engine: fitted heads, drawn with exact depth, normals and mask."""
