"""The predictor interface of the pipeline: a log's frames in order."""

from typing import Protocol, runtime_checkable

import numpy as np

from driv3r.models.driv3r.streaming import StreamFrame
from driv3r.types import Prediction


@runtime_checkable
class Predictor(Protocol):
    """A system that predicts a log's surround frames in order."""

    def step(self, frame: StreamFrame) -> Prediction:
        """Predict the next frame."""
        ...

    def save_state(self) -> dict[str, np.ndarray]:
        """The exact state that the next frame needs; empty before the first."""
        ...

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`."""
        ...
