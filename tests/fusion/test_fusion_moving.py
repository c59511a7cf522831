import numpy as np
import pytest
from fusion_frames import START_US, assert_same_bytes, assert_valid, fill_box, make_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.errors import ConfigError
from driv3r.fusion import FusionConfig, MovingFusion, fuse

CONFIG = FusionConfig()
CAR = np.array([4.5, 1.8, 1.5])


def drive(paths, frames, dt_s=0.5, hidden=(), seed=0):
    """Cars on straight paths (start, velocity); `hidden` lists (frame, car) that are not seen."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(frames):
        seen = [
            fill_box(np.add(start, np.multiply(velocity, index * dt_s)), CAR, rng)
            for car, (start, velocity) in enumerate(paths)
            if (index, car) not in hidden
        ]
        time_us = [START_US + round(1e6 * dt_s * index)]
        points = np.concatenate([np.zeros((0, 3)), *seen])
        made.append(make_frame(index, [points], motion=0.9, time_us=time_us))
    return made


def fuse_moving(frames, config=CONFIG):
    fusion = MovingFusion(config)
    for frame in frames:
        fusion.add(frame)
    return fusion


PATHS = {
    "oncoming": [([-30, 0, 1], [11, 0, 0]), ([30, 3.5, 1], [-13, 0, 0])],
    "crossing": [([-30, 0, 1], [10, 0, 0]), ([0, -32, 1], [0, 8, 0])],
    "overtaking": [([-30, 0, 1], [14, 0, 0]), ([-15, 3.5, 1], [8, 0, 0])],
    "diagonal": [([-25, -25, 1], [9, 9, 0]), ([-32, 25, 1], [8, -8, 0])],
}


@pytest.mark.parametrize("dt_s", [0.1, 0.5])
@pytest.mark.parametrize("paths", PATHS.values(), ids=PATHS)
def test_crossing_cars_keep_their_ids_and_speeds(paths, dt_s):
    frames = round(6.0 / dt_s)
    result = fuse_moving(drive(paths, frames, dt_s)).result()
    assert_valid(result)
    assert result.track_id.tolist() == [0, 1] * frames
    assert result.frame.tolist() == sorted([*range(frames)] * 2)
    for car, (start, velocity) in enumerate(paths):
        first = np.linalg.norm(result.center_world[:2] - start, axis=1).argmin()
        own = result.track_id == first
        seconds = (result.time_us[own] - START_US) * 1e-6
        truth = np.array(start) + seconds[:, None] * np.array(velocity)
        assert np.abs(result.center_world[own] - truth).max() < 0.25, car
        assert np.allclose(result.size_m[own], 0.96 * CAR, rtol=0.1)
        error = np.linalg.norm(result.velocity_world_mps[own] - velocity, axis=1)
        assert error.max() < 0.05 * np.linalg.norm(velocity)


def test_a_queue_is_not_linked_car_to_car():
    """Each car's nearest at the next frame is the one behind it; one leaves, one enters."""
    xs, velocity = [0.0, 9.0, 23.0, 34.0, 47.0], [14.0, 0.0, 0.0]
    hidden = [(0, 0), *[(frame, 4) for frame in range(1, 8)]]
    result = fuse_moving(drive([([x, 0, 1], velocity) for x in xs], 8, hidden=hidden)).result()
    assert result.track_id.max() == 4
    several = result.track_id != result.track_id[3]
    assert np.allclose(result.velocity_world_mps[several], velocity, atol=0.5)
    assert np.isnan(result.velocity_world_mps[~several]).all()  # seen once: not known


@pytest.mark.parametrize(("missed", "tracks"), [(1, 1), (2, 1), (3, 2)])
def test_a_track_survives_two_missed_frames(missed, tracks):
    hidden = [(4 + k, 0) for k in range(missed)]
    result = fuse_moving(drive([([0, 0, 1], [9, 2, 0])], 12, hidden=hidden)).result()
    assert result.track_id.max() + 1 == tracks
    assert np.allclose(result.velocity_world_mps, [9, 2, 0], atol=0.4)


def test_implausible_steps_are_no_track():
    rng = np.random.default_rng(0)
    jumps = [make_frame(i, [fill_box([40 * i, 0, 1], CAR, rng)], 0.9) for i in range(3)]
    result = fuse_moving(jumps).result()  # 80 m/s
    assert result.track_id.tolist() == [0, 1, 2]
    assert np.isnan(result.velocity_world_mps).all()
    sizes = [0.5 * np.ones(3), 4 * np.ones(3)]
    grows = [make_frame(i, [fill_box([0, 0, 1], s, rng)], 0.9) for i, s in enumerate(sizes)]
    assert fuse_moving(grows).result().track_id.tolist() == [0, 1]
    stopped = [make_frame(i, [fill_box([0, 0, 1], CAR, rng)], 0.9, [START_US]) for i in range(2)]
    assert fuse_moving(stopped).result().track_id.tolist() == [0, 1]


def test_an_object_in_two_cameras_is_one_cluster():
    rng = np.random.default_rng(1)
    points = fill_box([12, 3, 1], CAR, rng, 600)
    left, right = points[points[:, 0] < 12.5], points[points[:, 0] > 11.5]
    time_us = [START_US + 20_000, START_US + 60_000]
    result = fuse_moving([make_frame(0, [left, right], 0.9, time_us)]).result()
    assert result.track_id.tolist() == [0]
    assert np.allclose(result.center_world, [12, 3, 1], atol=0.1)
    assert result.time_us.tolist() == [time_us[int(len(right) > len(left))]]


def test_noise_stays_unassigned():
    rng = np.random.default_rng(2)
    car = fill_box([0, 0, 1], CAR, rng)
    stray = np.array([[9.0 * k, 20.0, 0.0] for k in range(-5, 6)])  # 11 single points
    result = fuse_moving([make_frame(0, [car, stray], 0.9)]).result()
    assert_valid(result)
    assert result.track_id.tolist() == [0]
    assert np.array_equal(result.points_world[result.points_state == -1], stray)
    assert np.array_equal(result.points_world[result.points_state == 0], car.astype(np.float32))


@pytest.mark.parametrize(("depth_m", "clusters"), [(5.0, 2), (19.0, 2), (38.0, 1)])
def test_the_gap_grows_with_depth(depth_m, clusters):
    cube = np.stack(np.meshgrid(*[np.linspace(0, 0.4, 5)] * 3), axis=-1).reshape(-1, 3)
    far = cube + [0, 50, 0]  # its wide gap must not join the others
    frame = make_frame(0, [np.concatenate([cube, cube + [1.5, 0, 0]]), far], 0.9, depth_m=depth_m)
    frame.depth_m[1, 0, : len(far)] = 39.0
    assert len(fuse_moving([frame]).result().track_id) == clusters + 1


@settings(max_examples=25, deadline=None)
@given(
    cells=st.sets(st.tuples(*[st.integers(-3, 3)] * 3), min_size=1, max_size=12),
    shift=st.tuples(*[st.floats(-1e5, 1e5)] * 3),
    seed=st.integers(0, 99),
)
def test_separate_blobs_are_separate_clusters(cells, shift, seed):
    """Blobs half a metre wide on a grid of 2 m: each is one, wherever in the world they are."""
    rng = np.random.default_rng(seed)
    centers = 2.0 * np.array(sorted(cells)) + shift
    points = np.concatenate([fill_box(c, 0.5, rng, 40) for c in centers])
    frame = make_frame(0, [points[rng.permutation(len(points))]], 0.9)
    result = fuse_moving([frame]).result()
    assert len(result.track_id) == len(cells)
    found = result.center_world[np.lexsort(result.center_world.round().T[::-1])]
    nearest = np.abs(found[:, None] - centers[None]).max(-1).min(1)
    assert nearest.max() < 0.2
    assert (result.points_state >= 0).all()


def test_points_are_thinned_evenly():
    rng = np.random.default_rng(0)
    config = FusionConfig(max_points=100)
    car = fill_box([0, 0, 1], CAR, rng, 1001)
    result = fuse_moving([make_frame(0, [car], 0.9)], config).result()
    assert len(result.points_world) == 100
    rows = [
        int(np.flatnonzero((car.astype(np.float32) == p).all(1))[0]) for p in result.points_world
    ]
    assert np.ptp(np.diff(rows)) <= 1
    assert rows[0] == 0
    assert rows[-1] > 985


def test_order_and_split_change_no_byte():
    frames = drive(PATHS["diagonal"], 10)
    whole = fuse_moving(frames).result()
    merged = fuse_moving(frames[7::-1])
    merged.merge(fuse_moving(frames[8:]))
    assert_same_bytes(merged.result(), whole)
    with pytest.raises(ConfigError, match=r"\[3\] were added before"):
        merged.add(frames[3])
    with pytest.raises(ConfigError, match=r"\[0, 1\] were added before"):
        merged.merge(fuse_moving(frames[:2]))
    with pytest.raises(ConfigError, match="one config"):
        merged.merge(MovingFusion(FusionConfig(gate_m=1.0)))


def test_nothing_moving_is_empty_and_valid():
    still = make_frame(0, [np.zeros((20, 3))])
    unseen = make_frame(1, [np.zeros((4, 3))], motion=0.9, depth_m=np.nan, time_us=[-1])
    few = make_frame(2, [np.zeros((11, 3))], motion=0.9)
    for frames, points in (([], 0), ([still], 0), ([unseen], 0), ([still, unseen, few], 11)):
        result = fuse(frames, CONFIG).moving
        assert_valid(result)
        assert len(result.track_id) == 0
        assert result.points_state.tolist() == [-1] * points
