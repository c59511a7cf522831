"""How the world's inner loops are compiled.

fastmath stays off, so that every machine and thread count gives the same bytes; a division by zero
gives infinity, as in numpy, which spares a test at each.
"""

from numba import njit

kernel = njit(cache=True, nogil=True, error_model="numpy")
