"""The CUDA side of compute: drivers, device arrays, compiling and its cache. Importing it loads no CUDA library."""
