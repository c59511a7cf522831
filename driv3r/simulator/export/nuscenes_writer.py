"""Generated logs as a genuine nuScenes v1.0 folder: samples, sweeps, tables, map masks."""

import multiprocessing
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from driv3r.datasets.nuscenes import official_splits
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.transforms import apply, invert, to_quaternion
from driv3r.simulator.export import nuscenes_tables as nt
from driv3r.simulator.export.clips import FIRST_TRAIN_SEED
from driv3r.simulator.export.marker import begin_world, check_world, finish_world
from driv3r.simulator.rendering.renderer import Renderer
from driv3r.simulator.scene.camera_rig import EGO_T_LIDAR, make_rig, trigger_offset_us
from driv3r.simulator.scene.trajectories import Actor
from driv3r.simulator.scene.world import EGO, World, make_world
from driv3r.types import Camera, Rig

START_US = 1_700_000_000_000_000
LOG_SPACING_US = 600_000_000
KEYFRAME_S = 0.5
FIRST_S = 0.2
BOX_REACH_M = 60.0
MAP_MARGIN_M = 80.0
MAP_M_PER_PIXEL = 0.1


@dataclass(frozen=True)
class WorldConfig:
    """A nuScenes folder of generated logs, one a seed, under official scene names of a split."""

    split: str = "val"
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    keyframes: int = 8
    size_hw: tuple[int, int] = (270, 480)
    camera_hz: int = 12
    lidar_hz: int = 20
    version: str = "v1.0-trainval"
    jpeg_quality: int = 92

    def __post_init__(self):
        for name, expected, holds in (
            ("seeds", "some, from 0 on, each once",
             self.seeds and min(self.seeds) >= 0 and len({*self.seeds}) == len(self.seeds)),
            ("keyframes", "1 at least", self.keyframes >= 1),
            ("size_hw", "16 pixels at least", min(self.size_hw) >= 16),
            ("version", "v1.0- and a name", re.fullmatch(r"v1\.0-\w[\w-]*", self.version)),
            ("jpeg_quality", "1 to 100", 1 <= self.jpeg_quality <= 100),
        ):  # fmt: skip
            if not holds:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {expected}")


@dataclass(frozen=True, eq=False)
class LogPlan:
    """One log to write."""

    name: str
    seed: int
    start_us: int
    recipe: WorldConfig


def write_world(
    root: Path,
    recipe: WorldConfig,
    workers: int = 2,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Render all logs of a recipe into `root`, then write the tables and the note of what it is.

    A complete world is left unchanged, an incomplete one is generated again.
    ConfigError where something else lies there (see `check_world`).
    """
    plans = plan_logs(recipe)
    if check_world(root, recipe):
        return
    begin_world(root, recipe)
    jobs = [(plan, k, root) for plan in plans for k in range(recipe.keyframes)]
    rig = make_rig(recipe.size_hw)
    spawn = multiprocessing.get_context("spawn")
    chunks = [jobs[i : i + 4] for i in range(0, len(jobs), 4)]
    done = 0
    with ProcessPoolExecutor(max(workers, 1), mp_context=spawn) as pool:
        for finished in as_completed([pool.submit(_render_jobs, chunk) for chunk in chunks]):
            done += finished.result()
            report(done, len(jobs))
    tables = nt.fixed_tables(rig)
    for plan in plans:
        _add_log(tables, plan, rig, root)
    nt.write_tables(tables, root / recipe.version)
    finish_world(root)


def plan_logs(recipe: WorldConfig) -> list[LogPlan]:
    """Give each seed an official scene name of the split (ConfigError when there are too many)."""
    splits = official_splits()
    if recipe.split not in splits or len(recipe.seeds) > len(splits[recipe.split]):
        raise ConfigError(
            f"{len(recipe.seeds)} logs in split {recipe.split!r}: expected one of "
            f"{', '.join(splits)} and at most as many logs as it has scenes"
        )
    if any(seed >= FIRST_TRAIN_SEED for seed in recipe.seeds):
        raise ConfigError(f"evaluated worlds take seeds below {FIRST_TRAIN_SEED}")
    for name, given, expected in (
        ("camera_hz", recipe.camera_hz, (2, 4, 6, 12)),
        ("lidar_hz", recipe.lidar_hz, (2, 4, 10, 20)),
    ):
        if given not in expected:
            raise ConfigError(f"{name} {given}: expected one of {expected}")
    return [
        LogPlan(splits[recipe.split][i], seed, START_US + i * LOG_SPACING_US, recipe)
        for i, seed in enumerate(recipe.seeds)
    ]


def world_of(plan: LogPlan) -> World:
    """The world that a log is driven through."""
    return make_world(plan.seed, FIRST_S + plan.recipe.keyframes * KEYFRAME_S + 0.5)


def _path_xy(world: World) -> np.ndarray:
    return world.ego.origin[:, :2]


def _shift(world: World) -> np.ndarray:
    """Translation that makes all map coordinates positive, as nuScenes' are."""
    return np.array([*(MAP_MARGIN_M - _path_xy(world).min(0)), 0.0])


def _times_s(plan: LogPlan, period_s: float) -> np.ndarray:
    """LiDAR-aligned times of a sensor with a period, from the first keyframe to the last."""
    last = (plan.recipe.keyframes - 1) * KEYFRAME_S
    return FIRST_S + np.arange(int(round(last / period_s)) + 1) * period_s


def _file_of(plan: LogPlan, channel: str, time_us: int, key: bool, ending: str) -> str:
    name = f"world-{plan.seed:06d}__{channel}__{time_us}.{ending}"
    return f"{'samples' if key else 'sweeps'}/{channel}/{name}"


def _slots(plan: LogPlan, period_s: float):
    """(time_s, keyframe index it belongs to, whether it is the keyframe) of a sensor."""
    for time_s in _times_s(plan, period_s):
        position = (time_s - FIRST_S) / KEYFRAME_S
        key = abs(position - round(position)) < 1e-6
        yield float(time_s), int(np.ceil(position - 1e-6)), key


def _camera_time_s(camera: Camera, time_s: float) -> float:
    return time_s + trigger_offset_us(camera) * 1e-6


def _stamp(plan: LogPlan, time_s: float) -> int:
    return plan.start_us + int(round(time_s * 1e6))


def _render_jobs(jobs: list[tuple[LogPlan, int, Path]]) -> int:
    """Write the files that belong to some keyframes (the sweeps since the last one, too)."""
    cv2.setNumThreads(1)
    renderer: Renderer | None = None
    for plan, keyframe, root in jobs:
        if renderer is None or renderer.world.seed != plan.seed:
            renderer = Renderer(world_of(plan))
        _render_keyframe(renderer, plan, keyframe, root)
    return len(jobs)


def _render_keyframe(renderer: Renderer, plan: LogPlan, keyframe: int, root: Path) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, plan.recipe.jpeg_quality]
    rig = make_rig(plan.recipe.size_hw)
    for time_s, owner, key in _slots(plan, 1 / plan.recipe.camera_hz):
        if owner != keyframe:
            continue
        for look, camera in enumerate(rig.cameras):
            at_s = _camera_time_s(camera, time_s)
            image = renderer.render_view(camera, at_s, look).image
            path = root / _file_of(plan, camera.name, _stamp(plan, at_s), key, "jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_image(path, image[..., ::-1], quality)
    for time_s, owner, key in _slots(plan, 1 / plan.recipe.lidar_hz):
        if owner != keyframe:
            continue
        scan = renderer.scan(time_s)
        path = root / _file_of(plan, "LIDAR_TOP", _stamp(plan, time_s), key, "pcd.bin")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.c_[scan.points_lidar, scan.intensity, scan.ring].astype(np.float32).tofile(path)


def _add_log(tables: dict[str, list[dict]], plan: LogPlan, rig: Rig, root: Path) -> None:
    """All rows of one log."""
    world = world_of(plan)
    log_token, scene_token = nt.token_of("log", plan.name), nt.token_of("scene", plan.name)
    samples = [
        {
            "token": nt.token_of("sample", plan.name, k),
            "timestamp": _stamp(plan, FIRST_S + k * KEYFRAME_S),
            "scene_token": scene_token,
            "prev": "",
            "next": "",
        }
        for k in range(plan.recipe.keyframes)
    ]
    nt.chain(samples)
    tables["sample"] += samples
    tables["calibrated_sensor"] += nt.calibration_records(plan.name, rig)
    _add_data(tables, plan, world, rig, [s["token"] for s in samples])
    _add_boxes(tables, plan, world, [s["token"] for s in samples])
    tables["log"].append(
        {
            "token": log_token,
            "logfile": f"world-{plan.seed:06d}",
            "vehicle": "generated",
            "date_captured": "2023-11-14",
            "location": f"generated-{world.kind}",
        }
    )
    tables["scene"].append(
        {
            "token": scene_token,
            "log_token": log_token,
            "nbr_samples": len(samples),
            "first_sample_token": samples[0]["token"],
            "last_sample_token": samples[-1]["token"],
            "name": plan.name,
            "description": f"generated {world.kind}, seed {plan.seed}",
        }
    )
    tables["map"].append(_write_map(plan, world, log_token, root))


def _add_data(tables, plan: LogPlan, world: World, rig: Rig, samples: list[str]) -> None:
    """sample_data and ego_pose rows of every sensor, chained in time."""
    shift = _shift(world)
    sensors: list[tuple[str, Camera | None]] = [(c.name, c) for c in rig.cameras]
    for channel, camera in [*sensors, ("LIDAR_TOP", None)]:
        rows = []
        rate_hz = plan.recipe.camera_hz if camera else plan.recipe.lidar_hz
        for time_s, owner, key in _slots(plan, 1 / rate_hz):
            at_s = _camera_time_s(camera, time_s) if camera else time_s
            stamp = _stamp(plan, at_s)
            file = _file_of(plan, channel, stamp, key, "jpg" if camera else "pcd.bin")
            rows.append(nt.data_record(plan.name, channel, stamp, file, samples[owner], camera))
            world_T_ego = world.ego.world_T_ego(at_s)
            world_T_ego[:3, 3] += shift
            tables["ego_pose"].append(nt.pose_record(rows[-1]["token"], stamp, world_T_ego))
        nt.chain(rows)
        tables["sample_data"] += rows


def _add_boxes(tables, plan: LogPlan, world: World, samples: list[str]) -> None:
    """sample_annotation and instance rows of the actors within reach of the ego car."""
    renderer, shift = Renderer(world), _shift(world)
    tracks: dict[int, list[dict]] = {}
    things = [*(actor for actor in world.actors if actor.category != EGO), *world.parked]
    first_parked = len(things) - len(world.parked)
    for k, sample in enumerate(samples):
        time_s = FIRST_S + k * KEYFRAME_S
        world_T_ego = world.ego.world_T_ego(time_s)
        points_world = apply(world_T_ego @ EGO_T_LIDAR, renderer.scan(time_s).points_lidar)
        for index, actor in enumerate(things):
            world_T_actor = actor.trajectory.world_T_ego(time_s)
            if np.linalg.norm(world_T_actor[:3, 3] - world_T_ego[:3, 3]) > BOX_REACH_M:
                continue
            row = _box(actor, index >= first_parked, time_s, world_T_actor, points_world)
            row["token"] = nt.token_of("sample_annotation", plan.name, index, k)
            row["sample_token"] = sample
            row["instance_token"] = nt.token_of("instance", plan.name, index)
            row["translation"] = (np.array(row["translation"]) + shift).tolist()
            tracks.setdefault(index, []).append(row)
    for index, rows in tracks.items():
        nt.chain(rows)
        tables["sample_annotation"] += rows
        tables["instance"].append(
            {
                "token": rows[0]["instance_token"],
                "category_token": nt.token_of("category", things[index].category),
                "nbr_annotations": len(rows),
                "first_annotation_token": rows[0]["token"],
                "last_annotation_token": rows[-1]["token"],
            }
        )


def _box(
    actor: Actor, parked: bool, time_s: float, world_T_actor: np.ndarray, points_world: np.ndarray
) -> dict:
    """An annotation row without its links; the box encloses the shape at this instant."""
    vertices, _ = actor.shape_at(time_s)
    low, high = vertices.min(0), vertices.max(0)
    own = apply(invert(world_T_actor), points_world.astype(np.float64))
    inside = np.all((own >= low) & (own <= high), axis=1)
    attribute = nt.attribute_of(actor.category, actor.speed_mps(time_s), parked)
    length, width, height = (high - low).tolist()
    return {
        "visibility_token": "4" if inside.sum() > 5 else "1",
        "attribute_tokens": [nt.token_of("attribute", attribute)],
        "translation": apply(world_T_actor, (low + high) / 2).tolist(),
        "size": [width, length, height],
        "rotation": to_quaternion(world_T_actor).tolist(),
        "prev": "",
        "next": "",
        "num_lidar_pts": int(inside.sum()),
        "num_radar_pts": 0,
    }


def _write_map(plan: LogPlan, world: World, log_token: str, root: Path) -> dict:
    """The drivable-surface mask about one log's path, 0.1 m a pixel, y up as the devkit expects."""
    shift = _shift(world)
    reach_m = _path_xy(world).max(0) + shift[:2] + MAP_MARGIN_M
    size_px = np.ceil(reach_m / MAP_M_PER_PIXEL).astype(int)
    mask = np.zeros((size_px[1], size_px[0]), np.uint8)
    for road in world.carriageways:
        s = np.arange(road.start_m + 1, road.end_m - 1, 2.0)
        half = road.style.half_width_m
        edges = np.concatenate([road.surface(s, half), road.surface(s, -half)[::-1]]) + shift
        pixels = np.round(edges[:, :2] / MAP_M_PER_PIXEL).astype(np.int32)
        pixels[:, 1] = size_px[1] - pixels[:, 1]
        cv2.fillPoly(mask, [pixels], (255,))
    filename = f"maps/{nt.token_of('map', plan.name)}.png"
    (root / "maps").mkdir(parents=True, exist_ok=True)
    _write_image(root / filename, mask)
    return {
        "token": nt.token_of("map", plan.name),
        "log_tokens": [log_token],
        "category": "semantic_prior",
        "filename": filename,
    }


def _write_image(path: Path, pixels: np.ndarray, options: Sequence[int] = ()) -> None:
    """OpenCV tells a full disk by its answer alone."""
    if not cv2.imwrite(str(path), pixels, options):
        raise DatasetError(f"could not write {path}: is the disk full?")
