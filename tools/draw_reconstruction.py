"""Draw a reconstructed log from behind and above the car: still voxels, moving objects, the path.

python tools/draw_reconstruction.py out/demo/scene-0014.zarr docs/reconstruction.jpg
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

import driv3r
from driv3r.geometry.transforms import apply
from driv3r.store.reader import LogStore
from driv3r.types import MovingObjects, StaticMap

BACKGROUND = np.array([14, 16, 22], np.uint8)
PATH_RGB = np.array([255, 255, 255], np.uint8)
TRACK_RGB = np.array(  # one after another, bright on grey streets
    [[255, 122, 60], [64, 200, 255], [255, 214, 64], [120, 235, 110], [255, 96, 160],
     [170, 140, 255], [80, 240, 210], [255, 160, 140]], np.uint8,
)  # fmt: skip
OVERSAMPLING = 2
BATCH = 1 << 21  # splatted pixels at a time


@dataclass(frozen=True, eq=False)
class PointSet:
    """Points with a colour and a width in metres."""

    points_world: Float[np.ndarray, "n 3"]
    rgb: UInt8[np.ndarray, "n 3"]
    width_m: Float[np.ndarray, "n"]


@dataclass(frozen=True, eq=False)
class Eye:
    """A pinhole camera that looks from one place at another, world z up."""

    place: Float[np.ndarray, "3"]
    target: Float[np.ndarray, "3"]
    size_hw: tuple[int, int]
    focal_px: float

    def see(
        self, points_world: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n"]]:
        """Pixel positions (u, v) and depth of points; not positive behind the eye."""
        ahead = (self.target - self.place) / np.linalg.norm(self.target - self.place)
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        x, y, z = np.stack([right, np.cross(ahead, right), ahead]) @ (points_world - self.place).T
        scale = self.focal_px / np.where(z > 0.1, z, np.inf)
        return np.stack([x * scale + self.size_hw[1] / 2, y * scale + self.size_hw[0] / 2], -1), z


def gather_static(static: StaticMap, min_hits: int) -> PointSet:
    """Voxels of the still world that were seen often enough, as points of their surface."""
    kept = static.hits >= min_hits
    points_world = static.points_world[kept]
    sides_m = np.full(len(points_world), static.voxel_m * 1.25)
    return PointSet(points_world, static.rgb[kept], sides_m)


def gather_moving(moving: MovingObjects, min_states: int) -> PointSet:
    """Tracks seen in several frames, a colour each: the last state's points and box, the way."""
    ids, count = np.unique(moving.track_id, return_counts=True)
    parts = []
    for number, track_id in enumerate(ids[count >= min_states]):
        states = np.flatnonzero(moving.track_id == track_id)
        states = states[np.argsort(moving.frame[states], kind="stable")]
        rgb, last = TRACK_RGB[number % len(TRACK_RGB)], states[-1]
        world_T_object = moving.world_T_object[last]
        shape = moving.points_object[moving.points_track == track_id].astype(float)
        parts.append(_splats(apply(world_T_object, shape), (rgb * 0.75).astype(np.uint8), 0.22))
        parts += _box(world_T_object, moving.size_m[track_id], rgb)
        centers_world = moving.world_T_object[states, :3, 3]
        parts.append(_line(centers_world, rgb, 0.12))
        parts.append(_splats(centers_world, rgb, 0.3))
    return _join(parts)


def _box(
    world_T_object: Float[np.ndarray, "4 4"],
    size_m: Float[np.ndarray, "3"],
    rgb: UInt8[np.ndarray, "3"],
) -> list[PointSet]:
    """The twelve edges of an object's box."""
    corners = np.array(list(np.ndindex(2, 2, 2))) - 0.5
    pairs = [(a, b) for a in corners for b in corners if (b - a).sum() == np.abs(b - a).sum() == 1]
    sides_m = np.maximum(size_m, 0.3)
    return [_line(apply(world_T_object, np.stack(p) * sides_m), rgb, 0.07) for p in pairs]


def gather_path(world_T_ego: Float[np.ndarray, "t 4 4"]) -> PointSet:
    """The driven path just above the road, with a dot a frame."""
    places = world_T_ego[:, :3, 3] + np.array([0.0, 0.0, 0.25])
    return _join([_line(places, PATH_RGB, 0.22), _splats(places, PATH_RGB, 0.55)])


def _splats(points: Float[np.ndarray, "n 3"], rgb: UInt8[np.ndarray, "3"], m: float) -> PointSet:
    return PointSet(points, np.tile(rgb, (len(points), 1)), np.full(len(points), m))


def _line(places: Float[np.ndarray, "k 3"], rgb: UInt8[np.ndarray, "3"], m: float) -> PointSet:
    steps = np.arange(0, len(places) - 1 + 1e-9, 0.01) if len(places) > 1 else np.zeros(1)
    whole = np.arange(len(places))
    return _splats(np.stack([np.interp(steps, whole, axis) for axis in places.T], -1), rgb, m)


def _join(parts: list[PointSet]) -> PointSet:
    empty = PointSet(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0))
    parts = [empty, *parts]
    return PointSet(
        np.concatenate([p.points_world for p in parts]),
        np.concatenate([p.rgb for p in parts]),
        np.concatenate([p.width_m for p in parts]),
    )


def draw(eye: Eye, splats: PointSet) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Squares of the splats' widths, nearest first; the image and its depth (inf: none)."""
    h, w = eye.size_hw
    depth_m, image = np.full(h * w, np.inf), np.tile(BACKGROUND, (h * w, 1))
    uv, z = eye.see(splats.points_world)
    inside = (z > 2.0) & np.all((uv > -20) & (uv < (w + 20, h + 20)), axis=-1)
    uv, z, rgb = uv[inside], z[inside], splats.rgb[inside]
    side = np.clip(np.ceil(splats.width_m[inside] * eye.focal_px / z), 1, 24).astype(int)
    for px in np.unique(side):
        dv, du = (axis.ravel() for axis in np.indices((px, px)))
        for some in np.array_split(*_batches(np.flatnonzero(side == px), px)):
            corner = np.floor(uv[some] - (px - 1) / 2).astype(int)
            u, v = corner[:, :1] + du, corner[:, 1:] + dv
            _paint(image, depth_m, _pixels(u, v, eye.size_hw), z[some], rgb[some])
    return image.reshape(h, w, 3), depth_m.reshape(h, w)


def _batches(which: Int[np.ndarray, "n"], px: int) -> tuple[Int[np.ndarray, "n"], int]:
    return which, max(len(which) * px * px // BATCH, 1)


def _pixels(
    u: Int[np.ndarray, "n k"], v: Int[np.ndarray, "n k"], size_hw: tuple[int, int]
) -> Int[np.ndarray, "n k"]:
    h, w = size_hw
    return np.where((u >= 0) & (v >= 0) & (u < w) & (v < h), v * w + u, -1)


def _paint(
    image: UInt8[np.ndarray, "p 3"],
    depth_m: Float[np.ndarray, "p"],
    pixels: Int[np.ndarray, "n k"],
    z: Float[np.ndarray, "n"],
    rgb: UInt8[np.ndarray, "n 3"],
) -> None:
    """Put splats where they are nearer than what is there; of several the nearest stays."""
    who, _ = np.nonzero(pixels >= 0)
    where = pixels[pixels >= 0]
    order = np.argsort(-z[who], kind="stable")  # of equal pixels numpy keeps the last: the nearest
    who, where = who[order], where[order]
    nearer = z[who] < depth_m[where]
    image[where[nearer]], depth_m[where[nearer]] = rgb[who[nearer]], z[who[nearer]]


def light(
    image: UInt8[np.ndarray, "h w 3"], depth_m: Float[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Eye-dome lighting (Boucheny 2009), and distance that fades to dark."""
    seen = np.isfinite(depth_m)
    log_depth = np.log(np.where(seen, depth_m, depth_m[seen].max(initial=1.0) * 1.1))
    (h, w), around = depth_m.shape, np.pad(log_depth, 6, mode="edge")
    behind = np.zeros_like(log_depth)
    for dv, du in [(r * y, r * x) for r in (2, 6) for y, x in ((0, 1), (0, -1), (1, 0), (-1, 0))]:
        step = log_depth - around[6 + dv : 6 + dv + h, 6 + du : 6 + du + w]
        behind += np.clip(step - 0.004, 0, 0.15)  # steps between a surface's voxels are none
    shade = np.exp(-2.5 * behind)
    fade = np.clip(1.25 - depth_m / 110.0, 0.25, 1.0)
    bright = 255.0 * (image / 255.0) ** 0.72 * (shade * np.where(seen, fade, 1.0))[..., None]
    return np.where(seen[..., None], np.clip(bright, 0, 255), image).astype(np.uint8)


def look_along(
    world_T_ego: Float[np.ndarray, "t 4 4"], size_hw: tuple[int, int], back_m: float, up_m: float
) -> Eye:
    """An eye behind and above the path's middle that looks along it."""
    places = world_T_ego[:, :3, 3]
    heading = world_T_ego[len(places) // 2, :3, 0] * (1.0, 1.0, 0.0)
    heading /= np.linalg.norm(heading)
    middle = places.mean(axis=0)
    up = np.array([0.0, 0.0, 1.0])
    return Eye(middle - back_m * heading + up_m * up, middle + 9 * heading, size_hw, size_hw[1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("log", type=Path, help="a finished log, out/.../<log>.zarr")
    parser.add_argument("image", type=Path, help="the JPEG to write")
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=640)
    parser.add_argument("--back", type=float, default=26.0, help="metres behind the path's middle")
    parser.add_argument("--up", type=float, default=22.0, help="metres above it")
    parser.add_argument("--min-hits", type=int, default=3, help="pixels that a voxel must have had")
    parser.add_argument("--min-states", type=int, default=3, help="frames of a track that is shown")
    parser.add_argument("--quality", type=int, default=86)
    given = parser.parse_args()
    image = render(driv3r.open_log(given.log), given)
    jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, given.quality])[1]
    given.image.write_bytes(jpeg.tobytes())
    print(f"{given.image}: {len(jpeg) / 1000:.0f} kB")


def render(log: LogStore, given: argparse.Namespace) -> UInt8[np.ndarray, "h w 3"]:
    """The picture of a log."""
    h, w = given.height * OVERSAMPLING, given.width * OVERSAMPLING
    eye = look_along(log.world_T_ego(), (h, w), given.back, given.up)
    parts = [
        gather_static(log.static(), given.min_hits),
        gather_moving(log.moving(), given.min_states),
        gather_path(log.world_T_ego()),
    ]
    image = light(*draw(eye, _join(parts)))
    return np.asarray(
        cv2.resize(image, (given.width, given.height), interpolation=cv2.INTER_AREA), np.uint8
    )


if __name__ == "__main__":
    main()
