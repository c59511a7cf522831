"""The data types and their conventions, stated once.

`dst_T_src` maps homogeneous points of frame `src` to frame `dst`. Frames: `world` (fixed, metres),
`ego` (x forward, y left, z up; its origin on the road, or as high over it as `Rig.ground_z_m` is
below 0), `cam` (OpenCV: x right, y down, z forward), `lidar`, `ref`.
Pixel (0, 0) is the corner of the first pixel, its centre is (0.5, 0.5); `K` follows that.
`depth_m` is z in the camera, `range_m` the length along the ray. Times are integer microseconds.
Axis letters: b batch, t frames, v views (cameras), h w pixels, n points, c channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, Int64, UInt8

Scale = Literal["metric", "similarity", "affine"]
EgoPoses = Literal["given", "predicted", "odometry"]
Refine = Literal["own", "tracks", "none"]
FlowName = Literal["dis", "matcher"]
CalibrationMode = Literal["given", "hidden"]
FusionSource = Literal["cameras", "lidar", "both"]
Precision = Literal["auto", "bf16", "fp32"]
LensModel = Literal["brown_conrady", "kannala_brandt", "mei", "f_theta", "double_sphere"]
RowsRead = Literal["down", "up", "right", "left"]  # the way that a shutter's line moves
Transform = Float[np.ndarray, "4 4"]
Images = Sequence[UInt8[np.ndarray, "h w 3"] | None]  # one a camera, None where there is none


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera of a rig: intrinsics for its full image and its place on the ego car.

    `distortion` holds the coefficients of its `lens` (see `geometry.lenses`), empty for a pinhole.
    `pinhole_fov_deg` is the angle across that is looked at of a fisheye: None for its own, 110 at
    most (see `geometry.pinholes`).
    """

    name: str
    K: Float[np.ndarray, "3 3"]
    size_hw: tuple[int, int]
    ego_T_cam: Transform
    distortion: tuple[float, ...] = ()
    lens: LensModel = "brown_conrady"
    pinhole_fov_deg: float | None = None


@dataclass(frozen=True, eq=False)
class Rig:
    """The cameras of a car in a fixed order, and its LiDAR where it has one.

    `ground_z_m` is the height of the flat road in the ego frame: 0 where the ego origin lies on it,
    below 0 where the origin is an axle or an IMU.
    """

    cameras: tuple[Camera, ...]
    ego_T_lidar: Transform | None = None
    ground_z_m: float = 0.0


@dataclass(frozen=True, eq=False)
class Sweep:
    """One LiDAR sweep in the sensor's frame at `time_us`, as the dataset gives it.

    Of several LiDARs' points in one sweep the first `own_count` are of that whose frame it is; None
    where all are.
    """

    points_lidar: Float[np.ndarray, "n 3"]
    time_us: int
    world_T_lidar: Transform
    own_count: int | None = None

    @property
    def own_points(self) -> Float[np.ndarray, "m 3"]:
        """The points of one LiDAR: they tell how it samples directions."""
        return self.points_lidar[: self.own_count or None]


@dataclass(frozen=True, eq=False)
class RollingShutter:
    """How a camera moved while its lines were read, one after the other.

    The first line is read `first_us` and the last `last_us` after the exposure's own time (before
    it: below 0). Velocities are the camera's own, in its frame at that time.
    """

    first_us: int
    last_us: int
    read: RowsRead
    velocity_cam_mps: Float[np.ndarray, "3"]
    turn_cam_radps: Float[np.ndarray, "3"]

    @property
    def by_rows(self) -> bool:
        """Whether a line is a row, not a column."""
        return self.read in ("down", "up")

    @property
    def backwards(self) -> bool:
        """Whether the last row or column is read first."""
        return self.read in ("up", "left")


@dataclass(frozen=True, eq=False)
class View:
    """One camera's exposure: its image, its own time and its own pose.

    `path` is the image's file relative to the dataset's root, with forward slashes; a file that
    holds many has the image's place in it after a `#`. `shutter` is None where all lines are read
    at one time, or nobody knows. `annotated_cam` are points (m) in the camera's frame that the
    dataset annotates the image with, such as depth of many sweeps; None where there are none.
    """

    image: UInt8[np.ndarray, "h w 3"]
    time_us: int
    world_T_cam: Transform
    path: str = ""
    shutter: RollingShutter | None = None
    annotated_cam: Float[np.ndarray, "n 3"] | None = None


@dataclass(frozen=True, eq=False)
class Repair:
    """Something of the input that was missing or broken, and what was done about it."""

    where: str
    reason: str


@dataclass(frozen=True, eq=False)
class Frame:
    """One surround frame. `views` follows the rig's order; a camera that gave nothing is None.

    `world_T_ego` is the dataset's own ego pose at `time_us` (truth for scoring, and the input of
    `--ego-poses given`). `is_keyframe` tells annotated frames from the ones between.
    """

    time_us: int
    world_T_ego: Transform
    views: tuple[View | None, ...]
    sweep: Sweep | None = None
    is_keyframe: bool = True
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True, eq=False)
class Boxes:
    """The n annotated boxes of one frame, at the time of its sweep, in the world of its log.

    `instance` names an object through the log. `size_m` is along the box's own x (forward), y
    (left) and z (up), its centre at the origin. The velocity is NaN where nobody knows.
    """

    instance: tuple[str, ...]
    label: tuple[str, ...]
    world_T_box: Float[np.ndarray, "n 4 4"]
    size_m: Float[np.ndarray, "n 3"]
    velocity_world_mps: Float[np.ndarray, "n 3"]

    @property
    def speed_mps(self) -> Float[np.ndarray, "n"]:
        """Length of the velocity."""
        return np.linalg.norm(self.velocity_world_mps, axis=-1)


BoxesOf = Callable[[int], Boxes | None]  # of a log's frame number; None where it is not annotated


@dataclass(frozen=True, eq=False)
class Scene:
    """One log. `frames` is lazy: files are read when a frame is indexed; its times are known.

    `input_hash` tells two logs' inputs apart: all that the tables say of it, and the names and
    sizes of its files. `origin_world` (x, y, z) was taken from the dataset's world coordinates, so
    that the log lies near its own. `generated` data are no recording. `boxes` gives the annotated
    boxes of a frame by its number, for scoring and training; it raises DatasetError where they are
    broken, and is None where a dataset has none. Without `poses_known` all poses of frames are the
    identity, and mean nothing: no figure is made of them, and they are not taken as given. Without
    `calibrated` something of the rig is assumed (`repairs` tell what): results are up to scale, and
    no figure in metres is made of them.
    `ignored` marks pixels of each camera's full image that show no street, such as the own bonnet:
    nothing is predicted there; empty where no camera has any.
    """

    id: str
    rig: Rig
    frames: Sequence[Frame]
    time_us: Int64[np.ndarray, "t"]
    is_keyframe: Bool[np.ndarray, "t"]
    repairs: tuple[Repair, ...] = ()
    input_hash: str = ""
    origin_world: tuple[float, float, float] = (0.0, 0.0, 0.0)
    generated: bool = False
    boxes: BoxesOf | None = None
    poses_known: bool = True
    calibrated: bool = True
    ignored: tuple[Bool[np.ndarray, "h w"] | None, ...] = ()


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of one surround frame, at its own working resolution.

    `cameras` are those that the maps belong to: crop and size of the images that were looked at.
    `sigma` is the scale (Laplace b) of log depth; `motion` the probability that a pixel's surface
    moves in the world. `prev_T_curr` maps the current ego frame to the previous frame's, None where
    it is not known, as on the first. A view without input has NaN everywhere, one of
    `unscaled_views`, whose unit of length nothing has told yet, NaN depth.
    """

    cameras: tuple[Camera, ...]
    depth_m: Float[np.ndarray, "v h w"]
    sigma: Float[np.ndarray, "v h w"]
    motion: Float[np.ndarray, "v h w"]
    prev_T_curr: Transform | None
    scale: Scale = "metric"
    unscaled_views: frozenset[int] = frozenset()


FINE = 256  # steps of a surface's place along the side of its voxel


def place_surface(
    index: Int[np.ndarray, "n 3"], offset: UInt8[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """Places of a surface in voxels of a static map, in sides of a voxel."""
    return index + (offset + 0.5) / FINE


@dataclass(frozen=True, eq=False)
class StaticMap:
    """The still world as voxels of `voxel_m`, sorted by 25.6 m tile and Morton code within it.

    All sums are integers, so that the map does not depend on the order of the frames. `index` is
    floor(xyz_world / voxel_m), `offset` the mean place of the surface in the voxel in 1/256 of its
    side. `hits` counts pixels, `misses` views that saw through the voxel, `weight` sums the
    observations' integer confidences. `normal` is in 1/127, towards where the surface was seen
    from, and 0 0 0 where the surface around is neither a sheet nor a line.
    """

    voxel_m: float
    index: Int[np.ndarray, "n 3"]
    offset: UInt8[np.ndarray, "n 3"]
    hits: Int[np.ndarray, "n"]
    misses: Int[np.ndarray, "n"]
    weight: Int[np.ndarray, "n"]
    rgb: UInt8[np.ndarray, "n 3"]
    normal: Int8[np.ndarray, "n 3"]
    first_frame: Int[np.ndarray, "n"]
    last_frame: Int[np.ndarray, "n"]

    @property
    def points_world(self) -> Float[np.ndarray, "n 3"]:
        """The surface's mean place in every voxel."""
        return place_surface(self.index, self.offset) * self.voxel_m

    @property
    def normals_world(self) -> Float[np.ndarray, "n 3"]:
        """Unit normals of the surface, NaN where there is none."""
        length = np.linalg.norm(self.normal, axis=-1, keepdims=True)
        return self.normal / np.where(length > 0, length, np.nan)

    def take(self, rows: Int[np.ndarray, "m"] | Bool[np.ndarray, "n"] | slice) -> "StaticMap":
        """Some of the voxels."""
        names = [f.name for f in fields(self) if f.name != "voxel_m"]
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles: `faces` count rows of `vertices_world`, whose colours are `rgb`."""

    vertices_world: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "m 3"]
    rgb: UInt8[np.ndarray, "n 3"]


@dataclass(frozen=True, eq=False)
class MovingObjects:
    """Moving things as rigid tracks: m states, k tracks, p points.

    A state is a track at a frame's own time. `world_T_object` has x along the heading, z up and its
    origin in the middle of the whole object's box, of `size_m` along those axes; a state is
    `observed` unless it was interpolated between others. Velocity has a standard deviation an axis,
    `velocity_sigma_mps`. `track_id` and `points_track` count rows of `size_m` and `quality`: the
    share of the track's frames in which it was observed. `points_object` are the object's own
    shape, accumulated over its frames.
    """

    track_id: Int[np.ndarray, "m"]
    frame: Int[np.ndarray, "m"]
    time_us: Int[np.ndarray, "m"]
    world_T_object: Float[np.ndarray, "m 4 4"]
    velocity_world_mps: Float[np.ndarray, "m 3"]
    velocity_sigma_mps: Float[np.ndarray, "m"]
    observed: Bool[np.ndarray, "m"]
    size_m: Float[np.ndarray, "k 3"]
    quality: Float[np.ndarray, "k"]
    points_object: Float[np.ndarray, "p 3"]
    points_rgb: UInt8[np.ndarray, "p 3"]
    points_track: Int[np.ndarray, "p"]


@dataclass(frozen=True)
class Score:
    """One figure: of whom, under which protocol and scaling, over how many samples.

    `images` counts the images that a mean over images was taken of, 0 where it is no such mean.
    """

    metric: str
    value: float
    unit: str
    n: int
    protocol: str
    subject: str
    scaling: str = "metric"
    camera: str = "all"
    images: int = 0
