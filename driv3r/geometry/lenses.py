"""Lens models: from a direction in the camera's frame to the normalised image, and back.

The normalised image is what `K` turns into pixels. Models, and their coefficients in order:

- `brown_conrady`: k1, k2, p1, p2[, k3[, k4, k5, k6[, s1, s2, s3, s4[, tau_x, tau_y]]]], OpenCV's
  rational radial-tangential model with thin prisms and a tilted sensor (Brown 1971).
- `kannala_brandt`: k1, k2, k3, k4, OpenCV's fisheye: radius theta (1 + k1 theta^2 + ... + k4
  theta^8) (Kannala and Brandt, TPAMI 2006).
- `mei`: xi, k1, k2, p1, p2: a unit sphere seen from xi behind its centre, then Brown's terms (Mei
  and Rives, ICRA 2007), as KITTI-360 has it.
- `f_theta`: k1, ..., kn: radius k1 theta + ... + kn theta^n.
- `double_sphere`: xi, alpha (Usenko et al., 3DV 2018).
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from driv3r.types import LensModel

COUNTS: dict[LensModel, tuple[int, ...]] = {
    "brown_conrady": (0, 4, 5, 8, 12, 14),
    "kannala_brandt": (4,),
    "mei": (5,),
    "f_theta": tuple(range(1, 9)),
    "double_sphere": (2,),
}
NEWTON_STEPS = 12
CONVERGED = 1e-12  # of the normalised image: less than a millionth of a pixel
STEP = 1e-6  # of the difference quotients; Newton's method needs no exact slopes
STEEPEST_RAD = np.radians(89.9)  # off the axis, where normalised images have ends
NEAR_OPPOSITE_RAD = np.pi - 1e-3  # of lenses that see backwards
TABLE = 4096  # angles that a radius is first looked up in
LEAST = 1e-12

Points = Float[np.ndarray, "*b 3"]
Plane = Float[np.ndarray, "*b 2"]
Coefficients = tuple[float, ...]


def bend(lens: LensModel, coefficients: Coefficients, directions: Points) -> Plane:
    """Normalised image coordinates of directions of any length in the camera's frame.

    They are NaN beyond the lens's widest angle.
    """
    shape, directions = directions.shape, np.asarray(directions, np.float64).reshape(-1, 3)
    theta = np.arctan2(np.linalg.norm(directions[..., :2], axis=-1), directions[..., 2])
    with np.errstate(all="ignore"):
        xy = _BEND[lens](coefficients, directions)
    inside = theta < widest_angle(lens, coefficients)
    return np.where(inside[:, None], xy, np.nan).reshape(*shape[:-1], 2)


def unbend(lens: LensModel, coefficients: Coefficients, xy: Plane) -> Points:
    """Unit directions that `bend` maps to normalised image coordinates, NaN where it maps none."""
    shape, xy = xy.shape, np.asarray(xy, np.float64).reshape(-1, 2)
    with np.errstate(all="ignore"):
        found = _UNBEND[lens](coefficients, xy)
        off = np.abs(bend(lens, coefficients, found) - xy) / np.maximum(1.0, np.abs(xy))
    found = np.where(off.max(-1, keepdims=True) <= CONVERGED, found, np.nan)
    return found.reshape(*shape[:-1], 3)


@lru_cache(maxsize=64)
def widest_angle(lens: LensModel, coefficients: Coefficients) -> float:
    """The angle (rad) off the axis from which on a lens has no image, or a second one."""
    theta = np.linspace(0.0, NEAR_OPPOSITE_RAD, TABLE)
    azimuth = np.linspace(0.0, 2 * np.pi, 8, endpoint=False)[:, None]
    sine, ahead = np.sin(theta), np.broadcast_to(np.cos(theta), (8, TABLE))
    rays = np.stack([np.cos(azimuth) * sine, np.sin(azimuth) * sine, ahead], -1)
    with np.errstate(all="ignore"):
        xy = _BEND[lens](coefficients, rays)
        outward = (np.diff(xy, axis=1) * rays[:, 1:, :2]).sum(-1)
    ends = np.flatnonzero(~(outward > 0).all(0))
    return float(theta[ends[0]]) if len(ends) else NEAR_OPPOSITE_RAD


def _bend_brown(coefficients: Coefficients, directions: Points) -> Plane:
    ahead = directions[..., 2:] > 0
    xy = directions[..., :2] / np.where(ahead, directions[..., 2:], np.nan)
    return _distort(xy, coefficients) if coefficients else xy


def _unbend_brown(coefficients: Coefficients, xy: Plane) -> Points:
    if coefficients:
        xy = _undistort(xy, coefficients)
    return _unit(np.concatenate([xy, np.ones_like(xy[..., :1])], -1))


def _distort(xy: Plane, coefficients: Coefficients) -> Plane:
    given = (*coefficients, *(0.0,) * (14 - len(coefficients)))
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tau_x, tau_y = given
    x, y = xy[..., 0], xy[..., 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    bent = np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + r2 * (s1 + r2 * s2),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + r2 * (s3 + r2 * s4),
        ],
        axis=-1,
    )
    if not (tau_x or tau_y):
        return bent
    tilted = np.concatenate([bent, np.ones_like(bent[..., :1])], -1) @ _tilt(tau_x, tau_y).T
    return tilted[..., :2] / tilted[..., 2:]


def _tilt(tau_x: float, tau_y: float) -> Float[np.ndarray, "3 3"]:
    """The homography of a sensor turned about x, then y (OpenCV's computeTiltProjectionMatrix)."""
    turn = Rotation.from_euler("xy", [-tau_x, -tau_y]).as_matrix()
    return np.array([[turn[2, 2], 0, -turn[0, 2]], [0, turn[2, 2], -turn[1, 2]], [0, 0, 1]]) @ turn


def _undistort(xy_bent: Plane, coefficients: Coefficients) -> Plane:
    """Newton's method from the place that the radial terms alone give."""
    widest = min(widest_angle("brown_conrady", coefficients), STEEPEST_RAD)
    radius = np.tan(np.linspace(0.0, widest, TABLE))
    along_x = np.stack([radius, np.zeros_like(radius)], -1)
    bent = np.linalg.norm(xy_bent, axis=-1, keepdims=True)
    start = np.interp(bent, _distort(along_x, coefficients)[:, 0], radius)
    xy = xy_bent * (start / np.maximum(bent, LEAST))
    for _ in range(NEWTON_STEPS):
        off = xy_bent - _distort(xy, coefficients)
        if np.nanmax(np.abs(off), initial=0.0) <= 1e-14:
            break
        a, c = _slope(xy, coefficients, 0)
        b, d = _slope(xy, coefficients, 1)
        det = a * d - b * c
        step = np.stack([d * off[..., 0] - b * off[..., 1], a * off[..., 1] - c * off[..., 0]], -1)
        xy = xy + step / np.where(det > 0, det, np.nan)[..., None]  # det <= 0: a fold of the image
    return xy


def _slope(
    xy: Plane, coefficients: Coefficients, axis: int
) -> tuple[Float[np.ndarray, "*b"], Float[np.ndarray, "*b"]]:
    step = np.zeros(2)
    step[axis] = STEP
    change = _distort(xy + step, coefficients) - _distort(xy - step, coefficients)
    return change[..., 0] / (2 * STEP), change[..., 1] / (2 * STEP)


def _powers_of(lens: LensModel, coefficients: Coefficients) -> Float[np.ndarray, "k"]:
    """The radius as a polynomial of the angle off the axis, from its first power on."""
    if lens == "f_theta":
        return np.array(coefficients)
    k1, k2, k3, k4 = coefficients
    return np.array([1.0, 0.0, k1, 0.0, k2, 0.0, k3, 0.0, k4])


def _radius(powers: Float[np.ndarray, "k"], theta: Float[np.ndarray, "*b"]) -> np.ndarray:
    return np.polynomial.polynomial.polyval(theta, np.concatenate([[0.0], powers]))


def _radial(lens: LensModel) -> tuple[Callable[..., Plane], Callable[..., Points]]:
    """The pair of a lens whose radius is a polynomial of the angle."""

    def forth(coefficients: Coefficients, directions: Points) -> Plane:
        across = np.linalg.norm(directions[..., :2], axis=-1)
        theta = np.arctan2(across, directions[..., 2])
        powers = _powers_of(lens, coefficients)
        scale = _radius(powers, theta) / np.maximum(across, LEAST)
        on_axis = powers[0] / np.where(directions[..., 2] > 0, directions[..., 2], np.nan)
        return directions[..., :2] * np.where(across > LEAST, scale, on_axis)[..., None]

    def back(coefficients: Coefficients, xy: Plane) -> Points:
        powers = _powers_of(lens, coefficients)
        theta_of = np.linspace(0.0, widest_angle(lens, coefficients), TABLE)
        radius = np.linalg.norm(xy, axis=-1)
        theta = np.interp(radius, _radius(powers, theta_of), theta_of, right=np.nan)
        slopes = powers * np.arange(1, len(powers) + 1)
        for _ in range(4):
            slope = np.polynomial.polynomial.polyval(theta, slopes)
            theta = theta - (_radius(powers, theta) - radius) / slope
        scale = np.sin(theta) / np.maximum(radius, LEAST)
        scale = np.where(radius > LEAST, scale, 1.0 / powers[0])
        return np.concatenate([xy * scale[..., None], np.cos(theta)[..., None]], -1)

    return forth, back


def _bend_mei(coefficients: Coefficients, directions: Points) -> Plane:
    xi, *brown = coefficients
    unit = _unit(directions)
    z = unit[..., 2:] + xi
    return _distort(unit[..., :2] / np.where(z > 0, z, np.nan), tuple(brown))


def _unbend_mei(coefficients: Coefficients, xy: Plane) -> Points:
    xi, *brown = coefficients
    xy = _undistort(xy, tuple(brown))
    r2 = (xy**2).sum(-1, keepdims=True)
    along = (xi + np.sqrt(1 + (1 - xi * xi) * r2)) / (1 + r2)
    return np.concatenate([xy * along, along - xi], -1)


def _bend_double_sphere(coefficients: Coefficients, directions: Points) -> Plane:
    xi, alpha = coefficients
    unit = _unit(directions)
    z = xi + unit[..., 2:]
    second = np.sqrt((unit[..., :2] ** 2).sum(-1, keepdims=True) + z**2)
    under = alpha * second + (1 - alpha) * z
    return unit[..., :2] / np.where(under > 0, under, np.nan)


def _unbend_double_sphere(coefficients: Coefficients, xy: Plane) -> Points:
    xi, alpha = coefficients
    r2 = (xy**2).sum(-1, keepdims=True)
    along = (1 - alpha**2 * r2) / (alpha * np.sqrt(1 - (2 * alpha - 1) * r2) + 1 - alpha)
    scale = (along * xi + np.sqrt(along**2 + (1 - xi * xi) * r2)) / (along**2 + r2)
    return np.concatenate([xy * scale, scale * along - xi], -1)


def _unit(directions: Points) -> Points:
    return directions / np.linalg.norm(directions, axis=-1, keepdims=True)


_PAIRS: dict[LensModel, tuple[Callable[..., Plane], Callable[..., Points]]] = {
    "brown_conrady": (_bend_brown, _unbend_brown),
    "kannala_brandt": _radial("kannala_brandt"),
    "mei": (_bend_mei, _unbend_mei),
    "f_theta": _radial("f_theta"),
    "double_sphere": (_bend_double_sphere, _unbend_double_sphere),
}
_BEND = {lens: pair[0] for lens, pair in _PAIRS.items()}
_UNBEND = {lens: pair[1] for lens, pair in _PAIRS.items()}
