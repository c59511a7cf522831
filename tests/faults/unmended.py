"""Faults of driv3r's own that rows of the matrix show, each with its place.

Whoever mends one takes its `fault` off the rows: they fail as soon as they pass.
"""

NAN_WEIGHTS = "driv3r/models/checkpoints.py `load_weights` takes NaN, and each log fails later"
LONG_NAME = "driv3r/pipelines/finished.py `sort_out`: `Path.exists` raises OSError"
RECORD = "driv3r/evaluation/records.py `load_failure` raises TypeError, ConfigError, RecursionError"
RUN_JSON = "driv3r/pipelines/process.py `read_run` takes any `logs`, paths among them"
PICTURES = "driv3r/pipelines/process.py `gather` writes pictures outside of `write_reports`' try"
NESTED_STORE = "driv3r/store/files.py `read_attributes` raises RecursionError"
YAML_LINES = "driv3r/config.py `load_recipe`: yaml's message is of several lines"
YAML_TEXT = "driv3r/config.py `load_recipe` raises UnicodeDecodeError"
NO_NAME = "driv3r/config.py `build_recipe` raises TypeError where a field is missing"
WORLD_RECIPE = (
    "driv3r/simulator/export/nuscenes_writer.py `WorldRecipe` checks none of its numbers and names"
)
WORLD_ROOT = "driv3r/simulator/export/marker.py `begin_world` raises OSError"
CHECKPOINT = "driv3r/training/checkpoints.py `restore` raises what torch.load raises"
TRAIN_RECIPE = "driv3r/training/config.py `TrainConfig` checks neither its numbers nor its name"
TRAIN_OUT = "driv3r/training/trainer.py `train`: `folder.mkdir` raises OSError"
ADAPT_OUT = "driv3r/training/adapt_logs.py `adapt_to_logs` looks at --out when training is over"
