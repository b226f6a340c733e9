"""Engine and its backends, and the model store; importing this package loads none of the libraries."""
