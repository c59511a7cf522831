"""A drive over a flat road that is known exactly, as a finished log for the tests of exports.

Five frames, the last without a pose; a front camera without and a rear one with lens distortion,
which gives nothing in frame 2. All depth is that of the road, z = 0. Two objects move.
"""

import dataclasses
from pathlib import Path

import numpy as np

from driv3r.geometry.cameras import rays_of
from driv3r.geometry.transforms import from_rotvec
from driv3r.settings import Provenance
from driv3r.store.commit import commit
from driv3r.store.reconstruction import Reconstruction
from driv3r.store.schema import FrameRecord, LogHeader
from driv3r.store.writer import LogWriter
from driv3r.types import Camera, MovingObjects, Prediction, Rig, StaticMap

T, V, H, W = 5, 2, 24, 32
SCALE, CROP = 2, (4, 6, H * 2, W * 2)  # of the recorded images: twice as large, and cropped
START_US, STEP_US = 1_600_000_000_123_456, 500_000
ABSENT, LOST = (2, 1), 4  # frame and view without an image; frame without a pose
ORIGIN_WORLD = (100.0, 2000.0, 3.0)
MOVES_HALF = W // 2  # pixels left of it move
CAR, WALKER = 0, 1
SIZE_M = np.array([[4.5, 1.9, 1.6], [0.7, 0.7, 1.8]])
CAM_AXES = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # ego_R_cam of a camera that looks ahead


def make_cameras() -> tuple[Camera, ...]:
    K = np.array([[20.0, 0.0, 15.5], [0.0, 21.0, 9.25], [0.0, 0.0, 1.0]])
    cameras = []
    for view, (name, yaw) in enumerate((("CAM_FRONT", 0.0), ("CAM_BACK", np.pi))):
        turn = from_rotvec(np.array([0.0, 0.0, yaw]), np.array([1.0 - 2 * view, 0.1, 1.5]))
        turn[:3, :3] = turn[:3, :3] @ CAM_AXES
        cameras.append(Camera(name, K, (H, W), turn))
    return tuple(cameras)


def make_full(camera: Camera) -> Camera:
    """The recorded image's camera, of which the working one is a crop at half the size."""
    K = camera.K.copy()
    K[:2] *= SCALE
    K[0, 2] += CROP[1]
    K[1, 2] += CROP[0]
    lens = (-0.1, 0.02, 0.001, 0.002) if camera.name == "CAM_BACK" else ()
    size_hw = (H * SCALE + 10, W * SCALE + 12)
    return dataclasses.replace(camera, K=K, size_hw=size_hw, distortion=lens)


def place_ego(time_us: int) -> np.ndarray:
    """The car: 2 m/s ahead, turning 0.1 rad/s to the left."""
    seconds = (time_us - START_US) * 1e-6
    return from_rotvec(np.array([0.0, 0.0, 0.1 * seconds]), np.array([2.0 * seconds, 0.3, 0.0]))


def make_header() -> LogHeader:
    cameras = make_cameras()
    provenance = Provenance({"threads": 1}, "c", "d", {"numpy": "1"}, "cpu", "fp32", "a machine")
    return LogHeader(
        log_id="drive-1",
        dataset="nuscenes",
        model="made-up",
        rig=Rig(cameras),
        full_cameras=tuple(make_full(camera) for camera in cameras),
        crops=(CROP,) * V,
        time_us=START_US + STEP_US * np.arange(T),
        is_keyframe=np.arange(T) % 2 == 0,
        input_hash="a",
        provenance=provenance,
        scale="metric",
        scale_source="calibrated rig",
        ego_poses="predicted",
        origin_world=ORIGIN_WORLD,
    )


def see_road(camera: Camera, world_T_ego: np.ndarray) -> np.ndarray:
    """Depth of z = 0 of the world, NaN above the horizon."""
    world_T_cam = world_T_ego @ camera.ego_T_cam
    down = -(rays_of(camera) @ world_T_cam[:3, :3].T)[..., 2]
    with np.errstate(divide="ignore"):
        return np.where(down > 0.01, world_T_cam[2, 3] / down, np.nan).astype(np.float32)


def make_record(frame: int) -> FrameRecord:
    cameras, time_us = make_cameras(), START_US + STEP_US * frame
    times = time_us + 10_000 * np.arange(V)
    poses = np.stack([place_ego(int(t)) for t in times])
    depth_m = np.stack([see_road(c, pose) for c, pose in zip(cameras, poses, strict=True)])
    sigma, motion = np.full((V, H, W), 0.1, np.float32), np.zeros((V, H, W), np.float32)
    motion[:, :, :MOVES_HALF] = 0.9
    paths: list[str | None] = [f"samples/{c.name}/{frame}.png" for c in cameras]
    if frame == ABSENT[0]:
        view = ABSENT[1]
        depth_m[view] = sigma[view] = motion[view] = poses[view] = np.nan
        times[view], paths[view] = -1, None
    lost = frame == LOST
    if lost:
        poses = np.full((V, 4, 4), np.nan)
    return FrameRecord(
        prediction=Prediction(cameras, depth_m, sigma, motion, np.eye(4) if frame else None),
        status="quarantined" if lost else "ok",
        reasons=("no pose",) if lost else (),
        time_cam_us=times,
        world_T_ego=np.full((4, 4), np.nan) if lost else place_ego(time_us),
        world_T_ego_cam=poses,
        image_paths=tuple(paths),
        seconds=0.1,
        input_hash=f"in{frame}",
    )


def make_static() -> StaticMap:
    """Road of 20 x 12 voxels with normals up, and a post without normals 1.2 m high."""
    x, y = np.meshgrid(np.arange(-20, 20, 2), np.arange(-12, 12, 2), indexing="ij")
    road = np.stack([x.ravel(), y.ravel(), np.zeros(x.size, np.int64)], axis=-1)
    post = np.array([[15, 21, z] for z in range(7)])
    index = np.concatenate([road, post])
    n = len(index)
    rng = np.random.default_rng(1)
    normal = np.zeros((n, 3), np.int8)
    normal[: len(road), 2] = 127
    normal[0] = (127, 0, 0)  # one that needs a real turn
    return StaticMap(
        0.2,
        index,
        rng.integers(0, 256, (n, 3), np.uint8),
        np.ones(n, np.int64),
        np.zeros(n, np.int64),
        1 + np.arange(n),
        rng.integers(0, 256, (n, 3), np.uint8),
        normal,
        np.minimum(np.arange(n) % T, 3),
        np.full(n, 3),
    )


def make_moving() -> MovingObjects:
    """A car in frames 0 to 3 and a walker in 1 and 2."""
    states = [(CAR, frame) for frame in range(4)] + [(WALKER, frame) for frame in (1, 2)]
    poses = [
        from_rotvec(np.array([0.0, 0.0, 3.0 + 0.2 * f]), np.array([9.0 - 3 * f, 2.0 + 4 * k, 0.9]))
        for k, f in states
    ]
    track, frame = np.array(states).T
    rng = np.random.default_rng(2)
    points_track = np.repeat([CAR, WALKER], [30, 8])
    points = rng.uniform(-0.5, 0.5, (38, 3)) * SIZE_M[points_track]
    return MovingObjects(
        track,
        frame,
        START_US + STEP_US * frame,
        np.array(poses),
        np.repeat([[-6.0, 0.5, 0.0]], len(track), axis=0),
        np.full(len(track), 0.4),
        np.arange(len(track)) != 2,
        SIZE_M,
        np.array([0.75, 1.0]),
        points.astype(np.float32),
        rng.integers(0, 256, (38, 3), np.uint8),
        points_track,
    )


def write_drive(folder: Path, fused: bool = True) -> Path:
    """The finished log in a folder."""
    writer = LogWriter(folder / "staging", make_header())
    for frame in range(T):
        writer.write_frame(frame, make_record(frame))
    writer.write_repairs([])
    if fused:
        writer.write_reconstruction(Reconstruction(make_static(), make_moving()))
    writer.seal()
    commit(folder / "staging", folder / "drive-1.zarr")
    return folder / "drive-1.zarr"


def write_images(root: Path) -> Path:
    """The recorded images below a root: smooth, so that resampling can be checked."""
    import cv2

    for camera in make_cameras():
        height, width = make_full(camera).size_hw
        v, u = np.mgrid[:height, :width]
        for frame in range(T):
            image = np.stack([u * 2, v * 3, u + v + 10 * frame], axis=-1).astype(np.uint8)
            path = root / f"samples/{camera.name}/{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image[..., ::-1])
    return root
