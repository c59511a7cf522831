"""Rigid transforms as 4x4 matrices, `dst_T_src`."""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation, Slerp

from driv3r.errors import GeometryError

# Of a camera that looks along a body's x, level: the body's axes are x forward, y left, z up.
BODY_T_CAM = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def make_transform(
    rotation: Float[np.ndarray, "*b 3 3"], translation: Float[np.ndarray, "*b 3"]
) -> Float[np.ndarray, "*b 4 4"]:
    """Stack a rotation and a translation (metres) into dst_T_src."""
    out = np.zeros((*rotation.shape[:-2], 4, 4))
    out[..., :3, :3] = rotation
    out[..., :3, 3] = translation
    out[..., 3, 3] = 1.0
    return out


def from_quaternion(
    wxyz: Float[np.ndarray, "*b 4"], translation: Float[np.ndarray, "*b 3"]
) -> Float[np.ndarray, "*b 4 4"]:
    """dst_T_src from a scalar-first quaternion; a zero or non-finite one raises GeometryError."""
    norm = np.linalg.norm(wxyz, axis=-1)
    if not np.all(np.isfinite(wxyz)) or np.any(norm < 1e-6):
        raise GeometryError(
            f"quaternion {wxyz} has norm {norm}; expected a finite unit wxyz quaternion: "
            "repair the pose in the dataset's tables"
        )
    if not wxyz.size:
        return np.zeros((*wxyz.shape[:-1], 4, 4))
    flat = Rotation.from_quat(np.reshape(wxyz, (-1, 4))[:, [1, 2, 3, 0]]).as_matrix()
    return make_transform(flat.reshape(*wxyz.shape[:-1], 3, 3), translation)


def to_quaternion(dst_T_src: Float[np.ndarray, "*b 4 4"]) -> Float[np.ndarray, "*b 4"]:
    """Scalar-first unit quaternion of the rotation, w >= 0."""
    if not dst_T_src.size:
        return np.zeros((*dst_T_src.shape[:-2], 4))
    xyzw = Rotation.from_matrix(dst_T_src[..., :3, :3].reshape(-1, 3, 3)).as_quat(canonical=True)
    return xyzw[:, [3, 0, 1, 2]].reshape(*dst_T_src.shape[:-2], 4)


def from_rotvec(
    rotvec_rad: Float[np.ndarray, "*b 3"], translation: Float[np.ndarray, "*b 3"]
) -> Float[np.ndarray, "*b 4 4"]:
    """dst_T_src from axis times angle (radians) and translation (metres)."""
    if not rotvec_rad.size:  # SciPy before 1.12 refuses to make no rotations
        return np.zeros((*rotvec_rad.shape[:-1], 4, 4))
    flat = Rotation.from_rotvec(np.reshape(rotvec_rad, (-1, 3))).as_matrix()
    return make_transform(flat.reshape(*rotvec_rad.shape[:-1], 3, 3), translation)


def to_rotvec(dst_T_src: Float[np.ndarray, "*b 4 4"]) -> Float[np.ndarray, "*b 3"]:
    """Axis times angle (radians) of the rotation."""
    if not dst_T_src.size:
        return np.zeros((*dst_T_src.shape[:-2], 3))
    flat = Rotation.from_matrix(dst_T_src[..., :3, :3].reshape(-1, 3, 3)).as_rotvec()
    return flat.reshape(*dst_T_src.shape[:-2], 3)


def invert(dst_T_src: Float[np.ndarray, "*b 4 4"]) -> Float[np.ndarray, "*b 4 4"]:
    """src_T_dst of a rigid dst_T_src, without a general matrix inverse."""
    rotation = np.swapaxes(dst_T_src[..., :3, :3], -1, -2)
    return make_transform(rotation, -np.einsum("...ij,...j->...i", rotation, dst_T_src[..., :3, 3]))


def apply(
    dst_T_src: Float[np.ndarray, "4 4"], points_src: Float[np.ndarray, "*b 3"]
) -> Float[np.ndarray, "*b 3"]:
    """points_dst = dst_T_src applied to points_src, in the points' own precision."""
    rotation = dst_T_src[:3, :3].astype(points_src.dtype)
    return points_src @ rotation.T + dst_T_src[:3, 3].astype(points_src.dtype)


def angle_rad(dst_T_src: Float[np.ndarray, "*b 4 4"]) -> Float[np.ndarray, "*b"]:
    """Angle of the rotation in radians, 0 to pi."""
    return np.asarray(np.linalg.norm(to_rotvec(dst_T_src), axis=-1))


def interpolate(
    times_us: np.ndarray, world_T_src: Float[np.ndarray, "n 4 4"], at_us: np.ndarray
) -> Float[np.ndarray, "m 4 4"]:
    """Poses at `at_us` between given ones: slerp and linear; times outside are clamped."""
    if len(times_us) == 0 or np.any(np.diff(times_us) <= 0):
        raise GeometryError(f"pose times must be strictly increasing and not empty: {times_us}")
    if len(times_us) == 1:
        return np.repeat(world_T_src, len(at_us), axis=0)
    start_us = times_us[0]  # subtracted so that double precision keeps every microsecond
    known_s = (times_us - start_us) * 1e-6
    at_s = (np.clip(at_us, times_us[0], times_us[-1]) - start_us) * 1e-6
    slerp = Slerp(known_s, Rotation.from_matrix(world_T_src[:, :3, :3]))
    xyz = np.stack([np.interp(at_s, known_s, world_T_src[:, i, 3]) for i in range(3)], axis=-1)
    return make_transform(slerp(at_s).as_matrix(), xyz)
