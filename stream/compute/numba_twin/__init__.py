"""The compute kernels on the CPU, compiled by numba when their module is imported or loaded from its cache.

The kernels release the GIL and are single-threaded on purpose: at 128x128 one core takes a fraction of a
millisecond, and numba's parallel mode may abort the process when two Python threads enter it at once.
They are compiled without fastmath, which would remove the checks for NaN.
"""
