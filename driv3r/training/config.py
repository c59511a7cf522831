"""One training run as data."""

import math
import re
from dataclasses import dataclass, field, fields

from driv3r.errors import ConfigError
from driv3r.models.driv3r.losses import LossWeights
from driv3r.models.driv3r.network import Driv3rConfig
from driv3r.settings import IRRELEVANT
from driv3r.simulator.export.clips import FIRST_TRAIN_SEED, ClipConfig

FIRST_VAL_SEED = 2 * FIRST_TRAIN_SEED


@dataclass(frozen=True)
class AugmentationConfig:
    """Ranges of how images vary at random, a draw a view unless told otherwise.

    `gain` and `gamma` are exposure and tone, `balance` the spread of the channels' gains and
    `colour_mix` that of a clip's colour matrix, `saturation` of a clip (0 is grey), `contrast` the
    slope of a clip's tone curve at its middle. A share `blur_share` of clips is blurred, another as
    large sharpened, by up to `blur_px`. `noise` is the largest sigma, of images in 0..1.
    """

    gain: tuple[float, float] = (0.7, 1.35)
    gamma: tuple[float, float] = (0.75, 1.35)
    balance: float = 0.06
    colour_mix: float = 0.05
    saturation: tuple[float, float] = (0.2, 1.4)
    contrast: tuple[float, float] = (0.8, 1.5)
    blur_share: float = 0.2
    blur_px: float = 1.0
    noise: float = 0.03


@dataclass(frozen=True)
class CorruptionConfig:
    """What is spoilt at random (docs/decisions/2026-11-27-photographs.md); by default nothing.

    Of a share `stem_share` of clips the trained encoder sees randomly convolved images. Of a share
    `prior_share` of cameras the coarse log depth has an error before matching, with sigmas
    `prior_log_sigma` of one number and of a smooth field; on the road `road_factor` of it. Of a
    share `context_drop` the depth sweep sees no features of the encoder.
    """

    stem_share: float = 0.0
    prior_share: float = 0.0
    prior_log_sigma: tuple[float, float] = (0.2, 0.3)
    road_factor: float = 0.15
    context_drop: float = 0.0


@dataclass(frozen=True)
class DataConfig:
    """What a step may draw.

    Clips are numbered from `first` on, `max_clips` of them, rendered in that order. Training
    begins when `min_clips` are in the pool, which holds up to `pool_gib` GiB on the device; then
    the oldest make room. Rendered clips are kept on the disk if `keep_clips`.

    `shapes` are (clips, frames) of a batch, drawn in turn at random, all of `views` cameras; in
    the first `half_size_share` of the run images have half their height and width, and shapes are
    `half_size_shapes`. Views are random resized crops, enlarged by up to `zoom`. Half of the clips
    are of a world, rig and speed larger or smaller by up to a factor of `world_scale`. `jitter` is
    how wrong the given calibration is: degrees of each camera's turn, and percent of its focal
    length, one sigma. A share `camera_drop` of images is missing. A share `calibration_drop` of
    clips has no calibration at all, and of the others the same share of cameras.
    """

    clips: ClipConfig = ClipConfig()
    first: int = 0
    min_clips: int = 60
    max_clips: int = 420
    pool_gib: float = 6.0
    keep_clips: bool = field(default=True, metadata=IRRELEVANT)
    shapes: tuple[tuple[int, int], ...] = ((2, 2), (2, 2), (1, 5))
    half_size_share: float = 0.0
    half_size_shapes: tuple[tuple[int, int], ...] = ((8, 2), (4, 4))
    augmentation: AugmentationConfig = AugmentationConfig()
    views: int = 6
    camera_drop: float = 0.06
    corruption: CorruptionConfig = CorruptionConfig()
    zoom: float = 1.0
    world_scale: float = 1.0
    jitter: tuple[float, float] = (0.0, 0.0)
    calibration_drop: float = 0.0
    seed: int = 0

    def __post_init__(self):
        if self.first < 0 or self.first + self.max_clips > FIRST_TRAIN_SEED:
            raise ConfigError(
                f"clips {self.first} to {self.first + self.max_clips}; expected numbers of 0 to "
                f"{FIRST_TRAIN_SEED}: those after it are validated on"
            )
        if not 1 <= self.min_clips <= self.max_clips:
            raise ConfigError(
                f"min_clips is {self.min_clips}; expected 1 to max_clips, {self.max_clips}"
            )
        if not 0.0 <= self.half_size_share <= 1.0:
            raise ConfigError(f"half_size_share is {self.half_size_share}; expected 0 to 1")
        for clips, frames in (*self.shapes, *self.half_size_shapes):
            if clips < 1 or not 1 <= frames <= self.clips.frames:
                raise ConfigError(
                    f"a batch of ({clips} clips, {frames} frames); expected one clip at least, "
                    f"and 1 to {self.clips.frames} frames, as many as clips have"
                )


@dataclass(frozen=True)
class TrainConfig:
    """One training run, as long as `steps` or `seconds`, whichever ends first (0: no limit).

    The learning rate warms up, stays, and falls linearly over the last `cooldown` share.
    `start_from` names weights whose tensors are taken over where name and shape are the same. A
    step takes `accumulate` batches in each process. With `compile` what costs most is compiled for
    its shapes, which takes minutes; let clips x frames be the same in all `shapes`.

    A run goes on by the recipe that it began with; only IRRELEVANT fields may change.
    """

    name: str
    model: Driv3rConfig = Driv3rConfig()
    data: DataConfig = DataConfig()
    losses: LossWeights = LossWeights()
    steps: int = field(default=3000, metadata=IRRELEVANT)
    seconds: float = field(default=0.0, metadata=IRRELEVANT)
    learning_rate: float = 8e-4
    warmup_steps: int = 100
    cooldown: float = 0.35
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    seed: int = 0
    validate_every: int = field(default=250, metadata=IRRELEVANT)
    validate_every_s: float = field(default=0.0, metadata=IRRELEVANT)
    validation_clips: int = 8
    save_every_s: float = field(default=180.0, metadata=IRRELEVANT)
    log_every: int = field(default=20, metadata=IRRELEVANT)
    start_from: str = ""
    accumulate: int = 1
    compile: bool = field(default=False, metadata=IRRELEVANT)

    def __post_init__(self):
        if self.accumulate < 1:
            raise ConfigError(f"accumulate is {self.accumulate}; expected 1 at least")
        if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", self.name):
            raise ConfigError(f"name is {self.name!r}; expected a plain word: weights bear it")
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{each.name} is {value}; expected a finite number")
        if self.steps <= 0 and self.seconds <= 0:
            raise ConfigError("neither `steps` nor `seconds` is given; expected one of them over 0")
