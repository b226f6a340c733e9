"""Expression coefficients by ARKit's names."""
