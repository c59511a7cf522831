"""What decides a generated pixel besides its recipe: the world's code and textures."""

from functools import cache

from driv3r.settings import PACKAGE, fingerprint, hash_file, hash_sources

SIMULATOR = PACKAGE / "simulator"
TEXTURES = SIMULATOR / "rendering" / "textures"


@cache
def hash_world(without: tuple[str, ...] = ()) -> str:
    """sha256 of the world's sources and textures, and of the sources that it builds on.

    `without` lists files of the world's that are left out.
    """
    textures = [hash_file(path) for path in sorted(TEXTURES.glob("*.png"))]
    built_on = [hash_sources((), PACKAGE / "geometry"), hash_file(PACKAGE / "types.py")]
    return fingerprint([hash_sources(without, SIMULATOR), *built_on, *textures])
