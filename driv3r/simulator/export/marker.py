"""The note that a generated dataset leaves in its root: which world it holds, and that it is one.

It is written when rendering begins, under another name, and takes its place when all else is there.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driv3r.datasets.scenes import GENERATED as MARKER
from driv3r.errors import ConfigError
from driv3r.settings import differences, fingerprint, identity_of
from driv3r.simulator.identity import hash_world

if TYPE_CHECKING:  # the writer imports this module
    from driv3r.simulator.export.nuscenes_writer import WorldConfig

BEGUN = "driv3r-world.partial.json"
NOT_OF_WORLDS = ("export/clips.py", "export/marker.py", "export/preview.py", "export/layouts")
FOLDERS = ("samples", "sweeps", "maps", "v1.0-*")
REMEDY = "give another --root, or delete the folder first"
REPLACEABLE = f"{REMEDY} (--replace does)"


def check_world(root: Path, recipe: "WorldConfig") -> bool:
    """Whether `root` holds the recipe's world: False where it is missing or incomplete.

    ConfigError where something else lies there: the world of another recipe or of another state of
    the world's code, whole or half made, or a dataset that driv3r did not write.
    """
    for path in (root / MARKER, root / BEGUN):
        if path.exists():
            _compare(path, recipe)
            return path.name == MARKER and (root / recipe.version / "scene.json").exists()
    strange = [path.name for pattern in FOLDERS for path in root.glob(pattern)]
    if strange:
        raise ConfigError(
            f"{root} holds {', '.join(sorted(strange))}, but no {MARKER}: it is a dataset that "
            f"`driv3r world make` did not write, and would be mixed with recipe "
            f"{describe(recipe)}; {REMEDY}"
        )
    return False


def discard_world(root: Path, recipe: "WorldConfig") -> None:
    """Delete a generated world other than the recipe's; what driv3r did not write is left alone."""
    noted = [path for path in (root / MARKER, root / BEGUN) if path.exists()]
    try:
        if not noted or check_world(root, recipe):
            return
    except ConfigError:  # it is another one, as its note tells
        pass
    for path in (*(p for pattern in FOLDERS for p in root.glob(pattern)), *noted):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def begin_world(root: Path, recipe: "WorldConfig") -> None:
    """Note that a world is being made."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / MARKER).unlink(missing_ok=True)
        (root / BEGUN).write_text(json.dumps(_note(recipe), indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"can not write to {root} ({error}); give another --root") from error


def finish_world(root: Path) -> None:
    """Note that all of it is there."""
    (root / BEGUN).replace(root / MARKER)


def describe(recipe: "WorldConfig") -> str:
    """A recipe in a few words."""
    return f"{fingerprint(recipe)[:8]} (split {recipe.split}, {len(recipe.seeds)} logs)"


def _note(recipe: "WorldConfig") -> dict[str, Any]:
    return {
        "generated": True,
        "recipe": identity_of(recipe),
        "fingerprint": fingerprint(recipe),
        "sources": hash_world(NOT_OF_WORLDS),
    }


def _compare(path: Path, recipe: "WorldConfig") -> None:
    """ConfigError unless a note is the recipe's."""
    ours = _note(recipe)
    try:
        theirs = json.loads(path.read_text())
        recipes = differences(ours["recipe"], theirs["recipe"])
        name = f"{theirs['fingerprint'][:8]}"
        same = theirs["sources"] == ours["sources"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is not the note of a generated world ({type(error).__name__}: {error}); "
            f"{REMEDY}"
        ) from error
    if recipes:
        raise ConfigError(
            f"{path.parent} holds the world of recipe {name}, not of {describe(recipe)}: "
            f"{'; '.join(recipes)}; {REPLACEABLE}"
        )
    if not same:
        raise ConfigError(
            f"{path.parent} holds the world of recipe {name} by another state of the world's code "
            f"({theirs['sources'][:8]}) than recipe {describe(recipe)} would be made by now "
            f"({ours['sources'][:8]}); {REPLACEABLE}"
        )
