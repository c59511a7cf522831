"""The note that a generated dataset leaves in its root: which world it holds, and that it is one.

It is written when rendering begins, under another name, and takes its place when all else is there.
A world in another layout than nuScenes' also notes what it put into the root.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driv3r.datasets.scenes import GENERATED as MARKER
from driv3r.errors import ConfigError
from driv3r.settings import differences, fingerprint, hash_file, identity_of
from driv3r.simulator.identity import SIMULATOR, hash_world

if TYPE_CHECKING:  # the writer imports this module
    from driv3r.simulator.export.nuscenes_writer import WorldConfig

BEGUN = "driv3r-world.partial.json"
NOT_OF_WORLDS = (
    *(f"export/{name}.py" for name in ("clips", "conversion", "marker", "preview")),
    "export/layouts",
)
NUSCENES = "nuscenes"  # the layout that worlds are rendered in
FOLDERS = ("samples", "sweeps", "maps", "v1.0-*")
REMEDY = "give another --root, or delete the folder first"
REPLACEABLE = f"{REMEDY} (--replace does)"


def check_world(root: Path, recipe: "WorldConfig", layout: str = NUSCENES) -> bool:
    """Whether `root` holds the recipe's world in a layout: False where it is missing or incomplete.

    ConfigError where something else lies there: the world of another recipe, in another layout or
    of another state of the world's code, whole or half made, or a dataset that driv3r did not
    write.
    """
    for path in (root / MARKER, root / BEGUN):
        if path.exists():
            _compare(path, recipe, layout)
            whole = layout != NUSCENES or (root / recipe.version / "scene.json").exists()
            return path.name == MARKER and whole
    patterns = FOLDERS if layout == NUSCENES else ("*/",)
    strange = [path.name for pattern in patterns for path in root.glob(pattern)]
    if strange:
        raise ConfigError(
            f"{root} holds {', '.join(sorted(strange))}, but no {MARKER}: it is a dataset that "
            f"`driv3r world make` did not write, and would be mixed with recipe "
            f"{describe(recipe)}; {REMEDY}"
        )
    return False


def discard_world(root: Path, recipe: "WorldConfig", layout: str = NUSCENES) -> None:
    """Delete a generated world other than the recipe's; what driv3r did not write is left alone."""
    noted = [path for path in (root / MARKER, root / BEGUN) if path.exists()]
    try:
        if not noted or check_world(root, recipe, layout):
            return
    except ConfigError:  # it is another one, as its note tells
        pass
    written = [path for note in noted for path in _written(root, note)]
    for path in (*dict.fromkeys(written), *noted):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _written(root: Path, note: Path) -> list[Path]:
    """What the world of a note put into its root."""
    try:
        entries = json.loads(note.read_text()).get("entries")
    except (ValueError, AttributeError):
        entries = None
    if not isinstance(entries, list):
        return [path for pattern in FOLDERS for path in root.glob(pattern)]
    return [root / Path(str(name)).name for name in entries]


def begin_world(
    root: Path, recipe: "WorldConfig", layout: str = NUSCENES, entries: Sequence[str] = ()
) -> None:
    """Note that a world is being made, in a layout of which `entries` will lie in the root."""
    note = _note(recipe, layout) | ({} if layout == NUSCENES else {"entries": [*entries]})
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / MARKER).unlink(missing_ok=True)
        (root / BEGUN).write_text(json.dumps(note, indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"can not write to {root} ({error}); give another --root") from error


def finish_world(root: Path) -> None:
    """Note that all of it is there."""
    (root / BEGUN).replace(root / MARKER)


def mark_generated(root: Path) -> None:
    """Say of logs that were written without a recipe that they are generated."""
    (root / MARKER).write_text(json.dumps({"generated": True}) + "\n")


def describe(recipe: "WorldConfig") -> str:
    """A recipe in a few words."""
    return f"{fingerprint(recipe)[:8]} (split {recipe.split}, {len(recipe.seeds)} logs)"


def _note(recipe: "WorldConfig", layout: str) -> dict[str, Any]:
    sources = hash_world(NOT_OF_WORLDS)
    note = {
        "generated": True,
        "recipe": identity_of(recipe),
        "fingerprint": fingerprint(recipe),
        "sources": sources,
    }
    if layout == NUSCENES:
        return note
    writers = sorted((SIMULATOR / "export" / "layouts").glob(f"{layout}*.py"))
    written_by = fingerprint([sources, *map(hash_file, writers)])
    return note | {"layout": layout, "sources": written_by}


def _compare(path: Path, recipe: "WorldConfig", layout: str) -> None:
    """ConfigError unless a note is the recipe's."""
    ours = _note(recipe, layout)
    try:
        theirs = json.loads(path.read_text())
        recipes = differences(
            *({"layout": note.get("layout", NUSCENES)} | note["recipe"] for note in (ours, theirs))
        )
        name = f"{theirs['fingerprint'][:8]}"
        same = theirs["sources"] == ours["sources"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
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
