"""A made-up street as a finished log: a road, a wall, a roof on request, one car that drives."""

from pathlib import Path

import numpy as np

from driv3r.evaluation.records import read_log_result
from driv3r.geometry.transforms import from_rotvec, make_transform
from driv3r.reporting.images import encode_jpeg
from driv3r.settings import Provenance
from driv3r.store.commit import commit
from driv3r.store.reader import LogStore
from driv3r.store.reconstruction import Reconstruction
from driv3r.store.schema import FrameRecord, LogHeader
from driv3r.store.writer import LogWriter
from driv3r.types import Camera, MovingObjects, Prediction, Rig, Score, StaticMap

T, H, W = 5, 24, 40
START_US = 1_600_000_000_000_000
ORIGIN_M = np.array([600.0, 1200.0, 3.0])  # far off, as maps of towns are
STEP_M = 2.0  # of the car in a frame
CAM_UP_M, WALL_M = 1.5, 12.0
K = np.array([[30.0, 0.0, 20.0], [0.0, 30.0, 12.0], [0.0, 0.0, 1.0]])
FORWARD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # x of ego is z of cam


def make_header() -> LogHeader:
    ego_T_cam = make_transform(FORWARD, np.array([0.0, 0.0, CAM_UP_M]))
    camera = Camera("CAM_FRONT", K, (H, W), ego_T_cam)
    provenance = Provenance({"protocol": "nuscenes"}, "c", "d", {}, "cpu", "fp32", "machine")
    return LogHeader(
        log_id="street",
        dataset="nuscenes",
        model="made-up",
        rig=Rig((camera,), from_rotvec(np.zeros(3), np.array([0.0, 0.0, 1.8]))),
        full_cameras=(camera,),
        crops=((0, 0, H, W),),
        time_us=START_US + 500_000 * np.arange(T),
        is_keyframe=np.full(T, True),
        input_hash="a",
        provenance=provenance,
        scale="metric",
        scale_source="made up",
        ego_poses="predicted",
    )


def world_T_ego(frame: int) -> np.ndarray:
    return from_rotvec(np.zeros(3), ORIGIN_M + (STEP_M * frame, 0.0, 0.0))


def make_record(header: LogHeader, frame: int) -> FrameRecord:
    """Every pixel sees a wall that goes with the car."""
    shape = (1, H, W)
    prediction = Prediction(
        header.rig.cameras,
        np.full(shape, WALL_M, np.float32),
        np.full(shape, 0.1, np.float32),
        np.full(shape, 0.25, np.float32),
        from_rotvec(np.zeros(3), np.array([STEP_M, 0.0, 0.0])) if frame else None,
    )
    return FrameRecord(
        prediction=prediction,
        status="ok",
        reasons=(),
        time_cam_us=np.array([header.time_us[frame]]),
        world_T_ego=world_T_ego(frame),
        world_T_ego_cam=world_T_ego(frame)[None],
        image_paths=("a.jpg",),
        seconds=0.1,
        input_hash="in",
        attempts=1,
    )


def make_static(roof: bool, n: int | None = None) -> StaticMap:
    """Red road, green wall at the left, blue roof; or `n` voxels at random places."""
    x, y, z = np.arange(-40, 120), np.arange(-20, 21), np.arange(1, 20)
    parts = [(x, y, [0], (200, 40, 40)), (x, [25], z, (40, 200, 40))]
    if roof:
        parts.append((x, y, [30], (40, 40, 200)))
    grids = [np.stack(np.meshgrid(*axes), -1).reshape(-1, 3) for *axes, _ in parts]
    index = np.concatenate(grids)
    colours = [np.tile(rgb, (len(g), 1)) for g, (*_, rgb) in zip(grids, parts, strict=True)]
    rgb = np.concatenate(colours).astype(np.uint8)
    if n is not None:
        rng = np.random.default_rng(0)
        index = np.unique(rng.integers(0, 2000, (n, 3)), axis=0)
        rgb = rng.integers(0, 256, index.shape, np.uint8)
    index = index + np.rint(ORIGIN_M / 0.2).astype(int)
    n = len(index)
    ones = np.full(n, 10)
    return StaticMap(
        0.2,
        index,
        np.full((n, 3), 128, np.uint8),
        ones,
        ones,
        ones,
        rgb,
        np.zeros((n, 3), np.int8),
        ones * 0,
        ones * 0,
    )


def make_moving() -> MovingObjects:
    """A car that comes towards ours, 2 m a frame faster than a frame's step."""
    places = ORIGIN_M + np.stack([20.0 - 4.0 * np.arange(T), np.full(T, 3.0), np.full(T, 0.8)], 1)
    turn = from_rotvec(np.array([0.0, 0.0, np.pi]), np.zeros(3))[:3, :3]
    shape = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 7)] * 3), -1).reshape(-1, 3)
    return MovingObjects(
        np.zeros(T, int),
        np.arange(T),
        START_US + 500_000 * np.arange(T),
        make_transform(np.tile(turn, (T, 1, 1)), places),
        np.tile([-8.0, 0.0, 0.0], (T, 1)),
        np.full(T, 0.1),
        np.full(T, True),
        np.array([[4.0, 2.0, 1.6]]),
        np.array([1.0]),
        (shape * (4.0, 2.0, 1.6)).astype(np.float32),
        np.full((len(shape), 3), (250, 240, 40), np.uint8),
        np.zeros(len(shape), int),
    )


def make_log(folder: Path, roof: bool = False, n: int | None = None) -> LogStore:
    """The log at folder/street.zarr."""
    header = make_header()
    writer = LogWriter(folder / "staging", header)
    for frame in range(T):
        writer.write_frame(frame, make_record(header, frame))
    writer.write_repairs([])
    writer.write_reconstruction(Reconstruction(make_static(roof, n), make_moving()))
    drive = np.array([world_T_ego(f)[:3, 3] for f in range(T)])
    writer.write_scores("ego", {}, (), {"path-truth": drive}, {})
    for protocol in ("nuscenes", "map"):
        scores = [score for score in make_scores() if score.protocol == protocol]
        writer.write_scores(protocol, {"max_m": 80.0}, scores, {}, {})
    picture = encode_jpeg(np.random.default_rng(0).integers(0, 256, (300, 800, 3), np.uint8))
    writer.write_pictures({"street, best frame": picture})
    writer.write_seconds({"predict": 1.5})
    writer.seal()
    commit(folder / "staging", folder / "street.zarr")
    return LogStore.open(folder / "street.zarr")


def make_scores() -> tuple[Score, ...]:
    depth = ("abs_rel", "sq_rel", "rmse", "rmse_log", "silog", "delta1", "delta2", "delta3", "ause")
    scores = [
        Score(metric, 0.1 + k / 100, "", 900, "nuscenes", "made-up", "metric", camera)
        for k, metric in enumerate((*depth, "coverage_50", "coverage_90"))
        for camera in ("all", "CAM_FRONT", "CAM_BACK")
    ]
    maps = [
        Score(f"{part}_{metric}", 0.3 + k / 100, "", 90, "map", "fusion", "metric")
        for part in ("ground", "off_ground")
        for k, metric in enumerate(("f_score_0.2", "completeness_0.5", "error_mean"))
    ]
    return (*scores, *maps)


def read_result(store: LogStore, report: Path):
    return read_log_result(store.path, report)
