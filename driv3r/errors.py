"""What can go wrong, as types: each message says what was given, what was expected, the remedy."""


class Driv3rError(Exception):
    """Root of every error that driv3r raises on purpose."""


class ConfigError(Driv3rError):
    """A recipe, option or argument is unknown, missing or out of range."""


class DatasetError(Driv3rError):
    """A dataset's folder, tables or files are not what its format promises."""


class UnsafePathError(DatasetError):
    """A table names a file outside the dataset's root."""


class GeometryError(Driv3rError):
    """A transform, calibration or point set is degenerate for the asked operation."""


class CheckpointError(Driv3rError):
    """Weights do not fit the network, or the file holds more than tensors."""


class StoreError(Driv3rError):
    """A store is incomplete, damaged or of another schema."""


class ScoringError(Driv3rError):
    """Prediction and truth can not be compared under the asked protocol."""


class TrainingError(Driv3rError):
    """Training can not go on: a loss is not finite."""
