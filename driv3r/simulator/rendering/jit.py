"""How the world's inner loops are compiled.

fastmath stays off, so that every machine and thread count gives the same bytes; a division by zero
gives infinity, as in numpy, which spares a test at each.

numba keeps what it compiled until the kernel's own file changes, but a kernel also holds what it
calls from other files. So its cached files are named by the state of all of the world's sources.
Where they lie is left to numba: its settings are shared by all that use it in a process.
"""

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache

from driv3r.settings import PACKAGE, hash_sources

SIMULATOR = PACKAGE / "simulator"


class _KernelFiles(CompileResultCacheImpl):
    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"{super().get_filename_base(fullname, abiflags)}-{hash_sources((), SIMULATOR)[:16]}"


class KernelCache(FunctionCache):
    """numba's cache of a function's machine code, one for each state of the world's sources."""

    _impl_class = _KernelFiles


def kernel(function: Callable) -> Any:
    """The function compiled when it is first called, or taken from the cache."""
    compiled: Any = njit(nogil=True, error_model="numpy")(function)
    compiled._cache = KernelCache(function)  # as njit(cache=True) does with a FunctionCache
    return compiled
