"""What the cameras of a rig see around the car: directions, angles across, overlaps."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from driv3r.geometry.cameras import project, unproject
from driv3r.geometry.pinholes import looked_at
from driv3r.types import Camera, Rig

FAR_M = 1000.0  # at which overlaps are told: places on the car hardly count


@dataclass(frozen=True)
class ViewOfCamera:
    """Where a camera is and looks: yaw to the left of forward, pitch upward, angles across."""

    name: str
    yaw_deg: float
    pitch_deg: float
    across_deg: float
    upright_deg: float
    place_ego_m: tuple[float, float, float]


def describe_view(camera: Camera) -> ViewOfCamera:
    """The view of a camera; the angles across are between the middles of the image's sides."""
    camera = looked_at(camera)
    height, width = camera.size_hw
    axis = camera.ego_T_cam[:3, 2]
    x, y, z = camera.ego_T_cam[:3, 3].tolist()
    middles = np.array([[0, height / 2], [width, height / 2], [width / 2, 0], [width / 2, height]])
    rays = unproject(camera, middles)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    angles = np.degrees(np.arccos(np.clip([rays[0] @ rays[1], rays[2] @ rays[3]], -1, 1)))
    yaw_deg = float(np.degrees(np.arctan2(axis[1], axis[0])))
    pitch_deg = float(np.degrees(np.arcsin(np.clip(axis[2], -1, 1))))
    across_deg, upright_deg = angles.tolist()
    return ViewOfCamera(camera.name, yaw_deg, pitch_deg, across_deg, upright_deg, (x, y, z))


def sees_around(camera: Camera, yaw_deg: Float[np.ndarray, "k"]) -> Bool[np.ndarray, "k"]:
    """Whether a camera sees far points at the horizon in directions about the car."""
    yaw = np.radians(yaw_deg)
    far_ego = FAR_M * np.stack([np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)], axis=-1)
    points_cam = (far_ego - camera.ego_T_cam[:3, 3]) @ camera.ego_T_cam[:3, :3]
    return project(looked_at(camera), points_cam)[2]


def coverage(rig: Rig) -> tuple[float, dict[tuple[str, str], float]]:
    """Degrees of the horizon that any camera sees, and that each pair sees both, if more than 0."""
    yaw_deg = np.arange(0.0, 360.0, 0.5)
    seen = np.stack([sees_around(camera, yaw_deg) for camera in rig.cameras])
    pairs = {
        (a.name, b.name): float((seen[i] & seen[j]).sum() * 0.5)
        for j, b in enumerate(rig.cameras)
        for i, a in enumerate(rig.cameras[:j])
    }
    return float(seen.any(axis=0).sum() * 0.5), {pair: deg for pair, deg in pairs.items() if deg}


def describe_coverage(rig: Rig) -> Iterator[str]:
    """Lines of text of every camera, of the horizon and of overlaps."""
    for view in map(describe_view, rig.cameras):
        x, y, z = view.place_ego_m
        yield (
            f"{view.name}: at {x:.2f}, {y:.2f}, {z:.2f} m, looks {view.yaw_deg:+.0f} degrees left "
            f"of forward, {view.pitch_deg:+.1f} up, {view.across_deg:.0f} x {view.upright_deg:.0f} "
            "degrees"
        )
    around_deg, pairs = coverage(rig)
    yield f"{around_deg:.0f} of 360 degrees of the horizon are seen"
    for (a, b), degrees in pairs.items():
        yield f"{a} and {b} overlap by {degrees:.0f} degrees"
