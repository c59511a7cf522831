"""Makes frame.json and points.npz with Waymo's own code, which needs an environment of its own:

python -m venv waymo && waymo/bin/pip install numpy protobuf
waymo/bin/pip install --no-deps waymo-open-dataset-tf-2-12-0==1.6.7
waymo/bin/python tests/goldens/waymo/make_goldens.py ../shared/data/waymo/v1/*.tfrecord

frame.json has sums over fields of a real frame, by their generated protobuf classes. points.npz has
made-up range images and the points that their range_image_utils and transform_utils make of them,
with numpy in TensorFlow's place: what the two files use of it is the same there by other names.
"""

import contextlib
import json
import struct
import sys
import types
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SIDES = ("center_x", "center_y", "center_z", "length", "width", "height", "heading")


def weigh(numbers):
    """A sum that tells the order of numbers, too."""
    flat = np.ravel(np.array(numbers, np.float64))
    return float(flat @ (1 + np.arange(len(flat)) % 97))


def sum_frame(path):
    from waymo_open_dataset import dataset_pb2

    raw = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    frame = dataset_pb2.Frame.FromString(raw[12 : 12 + length])
    cameras = sorted(frame.context.camera_calibrations, key=lambda each: each.name)
    images = sorted(frame.images, key=lambda each: each.name)
    labels = frame.laser_labels
    return {
        "time_us": frame.timestamp_micros,
        "pose": weigh(frame.pose.transform),
        "intrinsic": weigh([list(each.intrinsic) for each in cameras]),
        "extrinsic": weigh([list(each.extrinsic.transform) for each in cameras]),
        "size_hw": [[each.height, each.width] for each in cameras],
        "shutter_direction": [each.rolling_shutter_direction for each in cameras],
        "lasers": weigh(
            [list(each.extrinsic.transform) for each in frame.context.laser_calibrations]
        ),
        "inclinations": weigh(
            [list(each.beam_inclinations) for each in frame.context.laser_calibrations][-1]
        ),
        "image_bytes": [len(each.image) for each in images],
        "image_poses": weigh([list(each.pose.transform) for each in images]),
        "pose_timestamp": [each.pose_timestamp for each in images],
        "shutter": [each.shutter for each in images],
        "trigger": [each.camera_trigger_time for each in images],
        "readout_done": [each.camera_readout_done_time for each in images],
        "velocity": weigh([[getattr(i.velocity, f"v_{a}") for a in "xyz"] for i in images]),
        "turn": weigh([[getattr(i.velocity, f"w_{a}") for a in "xyz"] for i in images]),
        "labels": len(labels),
        "types": weigh([each.type for each in labels]),
        "boxes": weigh([[getattr(each.box, side) for side in SIDES] for each in labels]),
        "speed": weigh([[each.metadata.speed_x, each.metadata.speed_y] for each in labels]),
    }


def numpy_as_tensorflow():
    tf = types.ModuleType("tensorflow")
    for name in ("tile", "stack", "cos", "sin", "einsum", "expand_dims", "linalg", "float32",
                 "float64", "ones_like", "zeros_like", "matmul", "newaxis", "ndarray"):  # fmt: skip
        setattr(tf, name, getattr(np, name))
    tf.atan2, tf.range, tf.Tensor = np.arctan2, np.arange, np.ndarray
    tf.cast = lambda array, dtype: np.asarray(array, dtype)
    tf.concat = lambda arrays, axis: np.concatenate(arrays, axis)
    tf.unstack = lambda array, axis: list(np.moveaxis(array, axis, 0))
    tf.shape = lambda input: input.shape
    tf.math = types.SimpleNamespace(unsorted_segment_max=None, unsorted_segment_min=None)
    scope = types.SimpleNamespace(name_scope=lambda *_: contextlib.nullcontext())
    tf.compat = types.SimpleNamespace(v1=scope)
    sys.modules["tensorflow"] = tf


def make_points():
    numpy_as_tensorflow()
    from waymo_open_dataset.utils import range_image_utils as utils
    from waymo_open_dataset.utils import transform_utils

    utils._combined_static_and_dynamic_shape = lambda tensor: list(tensor.shape)
    rng = np.random.default_rng(5)
    height, width = 5, 12
    ranges = rng.uniform(2, 70, (height, width)).astype(np.float32)
    ranges[rng.random((height, width)) < 0.2] = -1
    angles = np.array([0.01, -0.02, 2.5])
    extrinsic, pose = np.eye(4), np.eye(4)
    extrinsic[:3, :3] = transform_utils.get_rotation_matrix(*angles[:, None])[0]
    extrinsic[:3, 3] = [1.43, 0.0, 2.184]
    pose[:3, :3] = transform_utils.get_rotation_matrix(*np.array([[0.01], [-0.03], [-0.8]]))[0]
    pose[:3, 3] = [-25211.25, 42391.08, -160.6]
    pixel = np.zeros((height, width, 6))
    pixel[..., :3] = [0.01, -0.03, -0.8] + rng.normal(0, 0.01, (height, width, 3))
    pixel[..., 3:] = pose[:3, 3] + rng.normal(0, 0.5, (height, width, 3))
    pixel = pixel.astype(np.float32).astype(np.float64)
    rotation = transform_utils.get_rotation_matrix(*np.moveaxis(pixel[..., :3], -1, 0))
    pixel_pose = np.zeros((height, width, 4, 4))
    pixel_pose[..., :3, :3], pixel_pose[..., :3, 3] = rotation, pixel[..., 3:]
    pixel_pose[..., 3, 3] = 1
    table = np.sort(rng.uniform(-0.3, 0.05, height))
    span = np.array([-1.5707963, 0.5235988])
    uniform = utils.compute_inclination(span, height)

    def points_of(inclination, **poses):
        polar = utils.compute_range_image_polar(
            ranges[None].astype(float), extrinsic[None], inclination[None, ::-1], dtype=np.float64
        )
        points = utils.compute_range_image_cartesian(
            polar, extrinsic[None], **poses, dtype=np.float64
        )
        return points[0][ranges > 0]

    return {
        "ranges": ranges,
        "extrinsic": extrinsic,
        "pose": pose,
        "pixel_poses": pixel.astype(np.float32),
        "table": table,
        "span": span,
        "by_table": points_of(table, pixel_pose=pixel_pose[None], frame_pose=pose[None]),
        "by_span": points_of(uniform),
    }


if __name__ == "__main__":
    (HERE / "frame.json").write_text(json.dumps(sum_frame(sys.argv[1]), indent=1) + "\n")
    np.savez_compressed(HERE / "points.npz", **make_points())
