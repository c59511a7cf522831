"""What sensors say of each other: the road, ends of things under image edges, boxes with points."""

import numpy as np
import pytest

from driv3r.datasets.check.boxes import BoxContent, count_points
from driv3r.datasets.check.edges import find_rims, measure_edges, rate_edges, summarise
from driv3r.datasets.check.motion import check_times, fastest_mps, is_rigid
from driv3r.datasets.check.road import measure_road
from driv3r.geometry.transforms import apply, from_rotvec, make_transform
from driv3r.types import Boxes, Camera

LEVEL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.6], [0, 0, 0, 1]])  # looks along x
FRONT = Camera("front", np.array([[500.0, 0, 400], [0, 500, 200], [0, 0, 1]]), (400, 800), LEVEL)
# Upright panels across x: distance, from y, to y, brightness. They all stand on the road, 2 m high.
PANELS = [
    (8.0, -3.0, -1.6, 30),
    (9.5, 1.0, 2.8, 220),
    (13.0, -6.5, -5.0, 200),
    (12.0, 5.0, 6.6, 20),
]
WALL_M, STEP = 45.0, np.radians(0.25)


def cast(origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance along each ray (of length 1) to the street of panels, and the brightness there."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.where(rays[:, 2] < 0, -origin[2] / rays[:, 2], np.inf)
        shade = np.full(len(rays), 110)
        panels = [*PANELS, (WALL_M, -200.0, 200.0, 120)]
        for x, from_y, to_y, brightness in panels:
            along = np.where(rays[:, 0] > 0, (x - origin[0]) / rays[:, 0], np.inf)
            _, y, z = (origin + along[:, None] * rays).T
            high = 60.0 if x == WALL_M else 2.0
            hit = (along < far) & (y > from_y) & (y < to_y) & (z > 0) & (z < high)
            far, shade = np.where(hit, along, far), np.where(hit, brightness, shade)
    return far, shade


def sweep(place: np.ndarray) -> np.ndarray:
    azimuth, elevation = np.meshgrid(
        np.arange(-np.pi, np.pi, STEP), np.radians(np.arange(-20, 3, 0.7))
    )
    flat = np.cos(elevation)
    rays = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], -1)
    rays = rays.reshape(-1, 3)
    far, _ = cast(place, rays)
    seen = far < 60
    return place + far[seen, None] * rays[seen]


def photograph(camera: Camera) -> np.ndarray:
    v, u = np.meshgrid(np.arange(400) + 0.5, np.arange(800) + 0.5, indexing="ij")
    rays = np.stack([(u - 400) / 500, (v - 200) / 500, np.ones_like(u)], -1).reshape(-1, 3)
    rays = (rays / np.linalg.norm(rays, axis=1, keepdims=True)) @ camera.ego_T_cam[:3, :3].T
    _, shade = cast(camera.ego_T_cam[:3, 3], rays)
    image = np.repeat(shade.reshape(400, 800, 1), 3, axis=2)
    noise = np.random.default_rng(0).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def street() -> tuple[np.ndarray, np.ndarray]:
    return sweep(np.array([0.3, 0.2, 1.9])), photograph(FRONT)


def agreement_of(points: np.ndarray, image: np.ndarray, ego_T_cam: np.ndarray = LEVEL):
    rims = find_rims(FRONT, ego_T_cam, points, points[:, 2], float(STEP))
    return rims, summarise([(rims, rate_edges(rims, measure_edges(image)))])


def test_rims_are_where_panels_end(street: tuple[np.ndarray, np.ndarray]) -> None:
    rims, told = agreement_of(*street)
    true_u = [400 - 500 * y / x for x, from_y, to_y, _ in PANELS for y in (from_y, to_y)]
    found = [rims.uv[rims.end == end, 0].mean() for end in np.unique(rims.end)]
    # A step is 2.2 px, and the LiDAR sees a little around corners.
    np.testing.assert_allclose(sorted(found), sorted(true_u), atol=4)
    assert told.ends == 8
    assert told.own > 3 * told.beside
    assert told.agrees
    assert not told.is_told  # eight ends are no proof of a whole log
    assert abs(told.best_px) <= 2


@pytest.mark.parametrize("shift_px", [-12, 12])
def test_an_image_aside_is_found_so(street: tuple[np.ndarray, np.ndarray], shift_px: int) -> None:
    points, image = street
    _, told = agreement_of(points, np.roll(image, shift_px, axis=1))
    assert not told.agrees
    assert abs(told.best_px - shift_px) <= 2


def test_a_camera_turned_or_moved_on_does_not_agree(
    street: tuple[np.ndarray, np.ndarray],
) -> None:
    points, image = street
    turned = from_rotvec(np.array([0.0, 0, np.radians(2.0)]), np.zeros(3)) @ LEVEL
    assert not agreement_of(points, image, turned)[1].agrees
    ahead = make_transform(np.eye(3), np.array([2.0, 0, 0])) @ LEVEL
    assert not agreement_of(points, image, ahead)[1].agrees


def test_nothing_ends_on_an_empty_road(street: tuple[np.ndarray, np.ndarray]) -> None:
    points, image = street
    _, told = agreement_of(points[points[:, 2] < 0.01], image)
    assert told.ends == 0
    assert not told.is_told


def road(z_m: float, slope_deg: float, rng: np.random.Generator) -> np.ndarray:
    xy = rng.uniform(-14, 14, (6000, 2))
    z = z_m + np.tan(np.radians(slope_deg)) * xy[:, 0] + rng.normal(0, 0.02, len(xy))
    return np.column_stack([xy, z])


@pytest.mark.parametrize(("z_m", "slope_deg"), [(0.0, 0.0), (-0.33, 2.0), (0.4, -4.0)])
def test_the_road_is_measured_beside_cars_and_below_reflections(
    z_m: float, slope_deg: float
) -> None:
    rng = np.random.default_rng(1)
    ground = road(z_m, slope_deg, rng)
    under_cars = (ground[:, 1] > 3) & (ground[:, 1] < 5.5)  # a row of parked cars hides its road
    cars = rng.uniform([-14, 3, 0.3], [14, 5.5, 1.6], (2000, 3)) + [0, 0, z_m]
    ghosts = rng.uniform([-14, -14, -3], [14, 14, -1], (40, 3))  # mirrored by puddles
    told = measure_road(np.concatenate([ground[~under_cars], cars, ghosts]))
    assert told is not None
    assert told.z_m == pytest.approx(z_m, abs=0.01)
    assert told.slope_deg == pytest.approx(abs(slope_deg), abs=0.2)


def test_too_few_points_and_walls_are_no_road() -> None:
    rng = np.random.default_rng(2)
    assert measure_road(road(0, 0, rng)[:20]) is None
    assert measure_road(np.zeros((0, 3))) is None
    y, z = rng.uniform(-9, 9, 4000), rng.uniform(0, 30, 4000)
    assert measure_road(np.column_stack([np.full(4000, 5.0), y, z])) is None


def test_boxes_hold_points_unless_turned_or_elsewhere() -> None:
    rng = np.random.default_rng(3)
    world_T_box = from_rotvec(np.array([0, 0, 0.6]), np.array([10.0, 4, 0.8]))
    far = make_transform(np.eye(3), np.array([300.0, 0, 0]))
    size_m = np.array([4.6, 1.9, 1.6])
    points = apply(world_T_box, rng.uniform(-size_m / 2, size_m / 2, (500, 3)))
    nan = np.full((2, 3), np.nan)

    def boxes(size: np.ndarray, shift_m: float = 0.0) -> Boxes:
        places = np.stack([world_T_box, far])
        places[:, 0, 3] += shift_m
        return Boxes(("a", "b"), ("Car", "Car"), places, np.stack([size, size]), nan)

    right = count_points(boxes(size_m), points, np.zeros(3))
    assert right == BoxContent(1, 1, 500, right.points_turned)
    assert right.points_turned < 300
    swapped = count_points(boxes(size_m[[1, 0, 2]]), points, np.zeros(3))
    assert (swapped.points, swapped.points_turned) == (right.points_turned, 500)
    assert count_points(boxes(size_m, 20.0), points, np.zeros(3)) == BoxContent(1, 0, 0, 0)
    assert right + swapped == BoxContent(2, 2, 500 + swapped.points, right.points_turned + 500)


def test_times_and_poses_that_no_drive_has() -> None:
    second = 1_000_000
    start = 1_600_000_000 * second
    good = np.arange(start, start + 4 * second, second // 2)
    assert [*check_times(good)] == []
    assert [*check_times(good - start)] == []  # of a log's own start
    said = {
        "backwards": [*check_times(good[[0, 2, 1, 3]])],
        "nanoseconds": [*check_times(good * 1000)],
        "seconds": [*check_times(np.arange(start, start + 5))],
    }
    assert "frame 2 is not after frame 1" in said["backwards"][0].given
    assert "year 2100" in said["nanoseconds"][0].expected
    assert "unit of times" in said["seconds"][0].remedy
    pose = from_rotvec(np.array([0.3, 0.2, -1]), np.ones(3))
    assert is_rigid(pose)
    for spoiled in (pose * 1.1, np.diag([1.0, 1, -1, 1]), np.where(pose == 1, np.nan, pose)):
        assert not is_rigid(spoiled)
    path = np.stack([make_transform(np.eye(3), np.array([x, 0.0, 0])) for x in (0.0, 1, 4)])
    assert fastest_mps(good[:3], path) == pytest.approx(6.0)
