"""The CUDA side of compute: drivers, device arrays, compiling. Importing it loads no CUDA library."""
