"""The compute kernels on a GPU: each module launches one family of kernels/*.cu on the current driver."""
