"""driv3r: camera logs of a driving car in, metric 4D reconstructions out.

    run = driv3r.process("nuscenes", "/data/nuscenes", split="mini_val", out="out")
    model = driv3r.load_model("driv3r-s")
    for prediction in model.stream(rig, frames): ...
    log = driv3r.open_log("out/scene-0103.zarr")

Importing it loads nothing heavy: each name is fetched when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driv3r.api import process as process
    from driv3r.inference.model import Model as Model
    from driv3r.inference.model import load_model as load_model
    from driv3r.settings import Settings as Settings
    from driv3r.store.reader import open_log as open_log
    from driv3r.types import Camera as Camera
    from driv3r.types import Prediction as Prediction
    from driv3r.types import Rig as Rig

__version__ = "0.1.0"
_HOMES = {
    "process": "api",
    "open_log": "store.reader",
    "Model": "inference.model",
    "load_model": "inference.model",
    "Settings": "settings",
    "Camera": "types",
    "Prediction": "types",
    "Rig": "types",
}
__all__ = [*_HOMES, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"driv3r has no {name!r}; it has {', '.join(_HOMES)}")
    return getattr(import_module(f"driv3r.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
