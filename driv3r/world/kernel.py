"""How the world's inner loops are compiled.

fastmath stays off, so that every machine and thread count gives the same bytes; a division by zero
gives infinity, as in numpy, which spares a test at each.

numba keeps what it compiled until the kernel's own file changes, but a kernel also holds what it
calls from other files. So each state of all sources has a folder of its own.
"""

import hashlib
from pathlib import Path

from numba import njit
from numba.core import config

HERE = Path(__file__).parent


def digest_sources(folder: Path) -> str:
    """A short sha256 of all Python files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


CACHE = HERE / "__pycache__" / f"kernels-{digest_sources(HERE)}"
setattr(config, "CACHE_DIR", str(CACHE))  # noqa: B010 - numba declares its settings at run time
kernel = njit(cache=True, nogil=True, error_model="numpy")
