"""Under which rules a depth figure was made: a protocol is data, and its card says it in words."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from driv3r.errors import ConfigError

# Garg et al., ECCV 2016, as fractions of the image: top, bottom, left, right.
GARG_CROP = (0.40810811, 0.99189189, 0.03594771, 0.96405229)

OF_TRUTH = {
    "sweep": {
        "truth": "LiDAR z in the camera; every return at subpixel position, no rounding",
        "placement": "LiDAR to world by its own pose at its own time, world to camera by the "
        "camera's own pose at its own time",
        "moving objects": "not compensated between the LiDAR's and the camera's time, nor "
        "within a sweep beyond what the dataset did",
    },
    "annotated": {
        "truth": "z that the dataset annotates the image with, at the middle of each pixel (KITTI: "
        "11 sweeps, compared with stereo: Uhrig et al., 3DV 2017); images without are left out",
        "placement": "the dataset's",
        "moving objects": "as the dataset has them (KITTI: mostly removed)",
    },
}


@dataclass(frozen=True)
class DepthProtocol:
    """Which points count as truth; raises ConfigError on an impossible range or margin.

    `truth` are a frame's own sweep, or what the dataset annotates each image with.

    A LiDAR point hides what lies behind it by more than `parallax_margin` of its own depth, within
    `parallax_reach` (sideways, up and down) of the spacing of the LiDAR's beams.
    """

    name: str
    min_m: float
    max_m: float
    crop: Literal["none", "garg"] = "none"
    keyframes_only: bool = False
    occlusion_filter: bool = True
    parallax_margin: float = 0.05
    parallax_reach: tuple[float, float] = (1.0, 0.55)
    truth: Literal["sweep", "annotated"] = "sweep"

    def __post_init__(self):
        if not 0 <= self.min_m < self.max_m < math.inf:
            raise ConfigError(
                f"protocol {self.name!r}: range {self.min_m}-{self.max_m} m, expected "
                "0 <= min_m < max_m, both finite"
            )
        if not (self.parallax_margin > 0 and min(self.parallax_reach) > 0):
            raise ConfigError(
                f"protocol {self.name!r}: parallax_margin {self.parallax_margin} and "
                f"parallax_reach {self.parallax_reach} must be positive; to have no filter, "
                "set occlusion_filter=False"
            )

    def with_range(self, min_m: float, max_m: float) -> "DepthProtocol":
        """The same rules over another range, under a name that says so."""
        name = f"{self.name}@{min_m:g}-{max_m:g}m"
        return dataclasses.replace(self, name=name, min_m=min_m, max_m=max_m)

    def unfiltered(self) -> "DepthProtocol":
        """The same rules with hidden points left in, as published figures have it."""
        return dataclasses.replace(self, name=f"{self.name}-unfiltered", occlusion_filter=False)

    def card(self) -> dict[str, str | float | bool]:
        """Every decision behind a figure, readable beside it."""
        sideways, upright = self.parallax_reach
        hidden = (
            f"dropped where a LiDAR point nearer by over {self.parallax_margin:.0%} lands within "
            f"{sideways:g} azimuth steps and {upright:g} beam spacings (measured in the sweep, "
            "carried from the LiDAR to the camera by that point's distance to each, at most 4 x)"
        )
        return OF_TRUTH[self.truth] | {
            "protocol": self.name,
            "min_m": self.min_m,
            "max_m": self.max_m,
            "keyframes_only": self.keyframes_only,
            "crop": "none" if self.crop == "none" else f"Garg, fractions {GARG_CROP}",
            "hidden points": hidden if self.occlusion_filter else "left in",
            "sampling": "bilinear in inverse depth, pixel centres at +0.5, clamped at the borders",
            "order": "mask truth by range and crop, scale the prediction, clamp it to the range "
            "(and to 1 mm at least)",
            "scalings": "metric: none; per_log, per_frame, per_view: one median(truth) / "
            "median(prediction) a log, a surround frame, an image",
            "median": "the lower of two middle values (torch.median)",
            "averaging": "a metric is taken over an image's points, then the mean over images, "
            "each counting once; n counts points",
            "no prediction": "points where the prediction is absent, NaN or not positive are left "
            "out and counted under lost; infinite depth counts, clamped",
            "formulas": "abs_rel mean(|p-g|/g); sq_rel mean((p-g)^2/g); silog "
            "100 sqrt(mean(e^2)-mean(e)^2), e = ln p - ln g; delta_n share of max(p/g, g/p) < "
            "1.25^n; coverage_q share of points inside the central q % of the stated Laplace; ause "
            "area between the abs_rel sparsification curves by sigma and by true error",
        }


_AS_PUBLISHED = (
    DepthProtocol("nuscenes", 0.1, 80.0, keyframes_only=True),
    DepthProtocol("truckscenes", 0.1, 80.0, keyframes_only=True),  # as nuScenes', like the next two
    DepthProtocol("lyft", 0.1, 80.0),
    DepthProtocol("t4", 0.1, 80.0),
    DepthProtocol("ddad", 0.0, 200.0),
    DepthProtocol("kitti", 0.0, 80.0, crop="garg"),
    DepthProtocol(
        "kitti-annotated", 0.0, 80.0, crop="garg", occlusion_filter=False, truth="annotated"
    ),
    DepthProtocol("kitti360", 0.0, 80.0),  # KITTI's range; its crop is of KITTI's images
    DepthProtocol("pandaset", 0.1, 80.0),
    DepthProtocol("waymo", 0.0, 75.0),
    DepthProtocol("argoverse2", 0.0, 100.0),
    DepthProtocol("zod", 0.1, 80.0),  # no published one: as nuScenes' range
    DepthProtocol("rosbag", 0.1, 80.0),  # as folder's
    DepthProtocol("folder", 0.1, 80.0),  # of one's own rig: as nuScenes' range
)
PROTOCOLS: dict[str, DepthProtocol] = {
    protocol.name: protocol
    for given in _AS_PUBLISHED
    for protocol in ((given, given.unfiltered()) if given.occlusion_filter else (given,))
}


def choose_protocol(name: str) -> DepthProtocol:
    """The protocol of a name; ConfigError lists the names where there is none."""
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol {name!r}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
