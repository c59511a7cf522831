"""What every system is to the pipeline: it answers a log's frames one after another."""

from typing import Protocol, runtime_checkable

import numpy as np

from driv3r.models.driv3r.streaming import StreamFrame
from driv3r.types import Prediction


@runtime_checkable
class Predictor(Protocol):
    """A system that answers a log's surround frames one after another."""

    def step(self, frame: StreamFrame) -> Prediction:
        """Answer the next frame."""
        ...

    def save_state(self) -> dict[str, np.ndarray]:
        """What the next frame will need, exactly; empty before the first."""
        ...

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up what `save_state` gave."""
        ...
