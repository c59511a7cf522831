"""Inner loops compiled by numba; no type checks reach into them."""
