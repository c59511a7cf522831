"""Nothing is told of what was not seen: paths, scale, and depth of other crops."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_settings import settings_for

from driv3r.datasets.preprocess import prepare_images, prepare_rig
from driv3r.evaluation.log_evaluator import LogScorer
from driv3r.evaluation.stored_frames import replay
from driv3r.geometry.ground_plane import predict_ground_plane
from driv3r.geometry.transforms import apply, from_rotvec, invert, to_rotvec
from driv3r.inference.metric_scale import ScaleEstimator, UnscaledPrediction
from driv3r.inference.refinement import FrameRefiner, choose_fine_size
from driv3r.inference.registry import load_system
from driv3r.models.driv3r.streaming import StreamFrame
from driv3r.pipelines.predict import frame_status, predict_frames
from driv3r.pipelines.preflight import make_provenance, resolve
from driv3r.pipelines.process import process
from driv3r.pipelines.worker import make_header, open_reader
from driv3r.simulator.export.clips import render_frame
from driv3r.simulator.rendering.renderer import Renderer
from driv3r.simulator.scene.camera_rig import make_rig
from driv3r.simulator.scene.world import make_world
from driv3r.store.arrays import read_view
from driv3r.store.codec import NO_INPUT, OK, UNSCALED
from driv3r.store.reader import LogStore
from driv3r.store.writer import LogWriter
from driv3r.tracking.feature_tracker import RigTracker, TrackerConfig
from driv3r.types import Frame, Prediction, Rig, RollingShutter, Scene, View

STEP = from_rotvec(np.array([0.0, 0.0, 0.05]), np.array([4.0, 0.2, 0.0]))
SIZE_HW = (64, 112)
KEYFRAMES = 5


class Scripted:
    """A streamer that finds the motions of a list, and depth of 10 m in views but `unscaled`."""

    def __init__(self, rig: Rig, motions: list, unscaled: frozenset[int] = frozenset()):
        self.rig, self.motions, self.unscaled = rig, list(motions), unscaled

    def step(self, frame) -> Prediction:
        absent = np.array([image is None for image in frame.images])
        shape = (len(self.rig.cameras), *self.rig.cameras[0].size_hw)
        flat = np.where(absent[:, None, None], np.nan, np.full(shape, 0.1)).astype(np.float32)
        depth_m = 100 * flat
        depth_m[list(self.unscaled)] = np.nan
        motion = self.motions.pop(0)
        return Prediction(
            self.rig.cameras, depth_m, flat, flat, motion, unscaled_views=self.unscaled
        )

    def save_state(self) -> dict:
        return {}

    def load_state(self, arrays: dict) -> None:
        pass


def make_scene(gone: tuple[int, ...] = (), off_m: float = 0.0) -> Scene:
    """A rig that drives by STEP; frames `gone` have no image, poses from frame 2 on are moved."""
    rig, frames = make_rig(SIZE_HW), []
    for i in range(KEYFRAMES):
        world_T_ego = np.linalg.matrix_power(STEP, i)
        world_T_ego[0, 3] += off_m * (i >= 2)
        views = tuple(
            None
            if i in gone
            else View(np.zeros((*SIZE_HW, 3), np.uint8), i * 500_000, world_T_ego @ c.ego_T_cam)
            for c in rig.cameras
        )
        frames.append(Frame(i * 500_000, world_T_ego, views))
    times = np.arange(KEYFRAMES) * 500_000
    return Scene("log", rig, frames, times, np.ones(KEYFRAMES, bool), input_hash="x")


def write(folder: Path, scene: Scene, motions: list, unscaled=frozenset()) -> LogWriter:
    settings = resolve(settings_for(folder, refine="none"))
    work = prepare_rig(scene.rig, SIZE_HW)
    writer = LogWriter(
        folder / "s",
        make_header(settings, make_provenance(settings), scene, work, load_system(settings)),
    )
    streamer = Scripted(work.rig, motions, unscaled)
    for stored in predict_frames(scene, work, writer, streamer, settings):
        assert stored.index in writer.written()
    return writer


def test_a_frame_without_a_motion_goes_on_as_before_wherever_the_dataset_is(tmp_path):
    """The path once jumped to the dataset's pose there: truth that no system had found."""
    motions = [None, STEP, None, STEP, STEP]
    here, moved = (
        write(tmp_path / name, make_scene((2,), off_m), motions)
        for name, off_m in (("here", 0.0), ("moved", 1000.0))
    )
    for i in range(KEYFRAMES):
        a, b = here.read_frame(i), moved.read_frame(i)
        np.testing.assert_allclose(a.world_T_ego, np.linalg.matrix_power(STEP, i), atol=1e-9)
        np.testing.assert_array_equal(a.world_T_ego, b.world_T_ego)
        assert a.extrapolated == (i == 2)
        marked = [r for r in a.reasons if "taken to go on as before" in r]
        assert len(marked) == (i == 2)
    assert here.read_frame(2).status == "quarantined"


def test_shutters_are_driven_by_the_logs_own_path(tmp_path):
    """The dataset's velocities tell where the car goes, which nobody has found yet."""
    scene = make_scene()
    told = RollingShutter(-9_000, 9_000, "down", np.full(3, 99.0), np.full(3, 9.0))
    frames = [
        replace(frame, views=tuple(view and replace(view, shutter=told) for view in frame.views))
        for frame in scene.frames
    ]
    writer = write(tmp_path, replace(scene, frames=frames), [None, STEP, STEP, None, STEP])
    assert set(writer.read_frame(0).shutters) == {None}
    rate = np.concatenate([to_rotvec(STEP), STEP[:3, 3]]) / 0.5
    for index in (1, 3):
        for shutter, camera in zip(
            writer.read_frame(index).shutters, scene.rig.cameras, strict=True
        ):
            assert shutter is not None
            assert (shutter.first_us, shutter.last_us) == (-9_000, 9_000)
            ego_R_cam, place = camera.ego_T_cam[:3, :3], camera.ego_T_cam[:3, 3]
            velocity_ego = rate[3:] + np.cross(rate[:3], place)
            np.testing.assert_allclose(ego_R_cam @ shutter.velocity_cam_mps, velocity_ego)
            np.testing.assert_allclose(ego_R_cam @ shutter.turn_cam_radps, rate[:3], atol=1e-12)
    plain = write(tmp_path / "plain", scene, [None, STEP, STEP, None, STEP])
    assert plain.read_frame(1).shutters == ()


def test_a_seen_frame_whose_motion_was_not_found_is_marked(tmp_path):
    writer = write(tmp_path, make_scene(), [None, STEP, None, STEP, STEP])
    assert writer.read_frame(1).status == "ok"
    assert writer.read_frame(2).status == "repaired"
    assert frame_status(make_scene().frames[0], extrapolated=True) == "repaired"


def test_extrapolated_frames_have_no_part_in_ego_figures(tmp_path):
    scene = make_scene((2,), 0.0)
    wrong = STEP.copy()
    wrong[0, 3] += 0.4  # 10 % too far, in every step that is found
    writer = write(tmp_path, scene, [None, wrong, None, wrong, wrong])
    scorer = LogScorer("nuscenes", scene.rig, "x", "predicted")
    for moment in replay(scene, prepare_rig(scene.rig, SIZE_HW), writer.read_frame):
        scorer.add(moment)
    (part,) = scorer.finish(None)
    figures = {(s.metric, s.scaling): s for s in part.scores}
    share = figures["rpe_percent", "se3"]
    length_m = np.linalg.norm(STEP[:3, 3])
    assert share.n == KEYFRAMES - 2
    assert share.value == pytest.approx(100 * 0.4 / length_m, rel=1e-3)
    assert figures["ate_rmse", "se3"].n == KEYFRAMES - 1
    assert part.card["omitted"]["x"]["extrapolated"].startswith("1 of 5 frames")
    assert sum("ego motion" in r.where for of_frame in scorer.repairs for r in of_frame) == 1


def test_a_log_without_a_motion_has_no_ego_figure(tmp_path):
    scene = make_scene()
    writer = write(tmp_path, scene, [None] * KEYFRAMES)
    scorer = LogScorer("nuscenes", scene.rig, "x", "predicted")
    for moment in replay(scene, prepare_rig(scene.rig, SIZE_HW), writer.read_frame):
        scorer.add(moment)
    (part,) = scorer.finish(None)
    assert {s.metric for s in part.scores} == {"path_length", "step"}
    assert "no motion was found" in part.card["omitted"]["x"]["ate, rpe"]


def test_depth_without_a_scale_is_none_and_says_so(tmp_path):
    writer = write(tmp_path, make_scene((1,)), [None, *[STEP] * 4], frozenset({2}))
    record = writer.read_frame(0)
    assert record.prediction.unscaled_views == {2}
    assert np.isnan(record.prediction.depth_m[2]).all()
    assert np.isfinite(record.prediction.depth_m[3]).all()
    camera = record.prediction.cameras[2].name
    assert f"{camera}: no depth: nothing has told its scale yet" in record.reasons
    reason = read_view(tmp_path / "s", "views/valid_reason", 0, slice(None))
    assert (reason[2] == UNSCALED).all()
    assert (reason[3] == OK).all()
    assert (read_view(tmp_path / "s", "views/valid_reason", 1, slice(None)) == NO_INPUT).all()
    assert np.isnan(writer.read_frame(1).prediction.sigma).all()
    assert np.isnan(writer.read_frame(1).prediction.motion).all()


def test_a_camera_of_which_nothing_tells_is_not_given_anothers_unit():
    rig = make_rig(SIZE_HW)
    scale_estimator = ScaleEstimator(rig)
    depth = np.where(scale_estimator.on_road, scale_estimator.road_m / 5, np.nan)
    depth[3] = np.nan
    nowhere = np.full((6, 4, 4), np.nan)
    apart = scale_estimator.update(UnscaledPrediction(depth, depth, nowhere), None)
    assert np.isnan(apart[3])
    np.testing.assert_allclose(np.delete(apart, 3), 5.0)
    shared = ScaleEstimator(rig).update(
        UnscaledPrediction(depth, depth, nowhere, shared_scale=True), None
    )
    np.testing.assert_allclose(shared, 5.0)
    nothing = np.full_like(depth, np.nan)
    for shared_scale in (True, False):
        untold = ScaleEstimator(rig).update(
            UnscaledPrediction(nothing, nothing, nowhere, shared_scale), None
        )
        assert np.isnan(untold).all()


@pytest.mark.parametrize("size_hw", [(96, 128), (112, 112), (84, 148), (128, 224)])
def test_exact_depth_of_any_crop_is_exact_at_tracked_features(size_hw):
    """Depth of a 4:3 crop was once read as if it covered a 16:9 one: 4 % off, at most 42 %."""
    world = make_world(31, 1.0, "suburb")
    full_hw, renderer = (360, 640), Renderer(world)
    full = make_rig(full_hw)
    shots = [view for view, _ in render_frame(renderer, full, 0.3)]
    pairs = zip(shots, full.cameras, strict=True)
    frame = Frame(0, np.eye(4), tuple(View(shot.image, 0, c.ego_T_cam) for shot, c in pairs))
    scene = Scene("log", full, [frame], np.zeros(1, np.int64), np.ones(1, bool))
    work = prepare_rig(scene.rig, size_hw)
    truth = [view for view, _ in render_frame(renderer, work.rig, 0.3)]
    depth_m = np.stack([np.where(v.depth_m > 0, v.depth_m, np.nan) for v in truth])
    sigma = np.full_like(depth_m, 0.02)
    exact = Prediction(work.rig.cameras, depth_m, sigma, np.zeros_like(sigma), None)
    fine = FrameRefiner(work, "tracks", "odometry").work
    assert fine.crops == work.crops
    tracker = RigTracker(fine.rig, TrackerConfig())
    tracker_frame = tracker.make_frame(prepare_images(frame, fine), exact)
    at_fine = [view.depth_m for view, _ in render_frame(renderer, fine.rig, 0.3)]
    off = []
    for view, camera in enumerate(fine.rig.cameras):
        found = tracker.find_features(tracker_frame, view)
        depth = apply(invert(camera.ego_T_cam), found.points_src)[:, 2]
        column, row = found.corners.astype(int).T
        true_m = at_fine[view][row, column]
        off.append(np.abs(depth / np.where(true_m > 0, true_m, np.inf) - 1))  # 1 off in the sky
    errors = np.concatenate(off)
    assert len(errors) > 60
    assert np.median(errors) < 0.01
    assert np.quantile(errors, 0.9) < 0.05


def test_finer_images_are_of_about_one_size_and_the_same_aspect():
    for size_hw in ((256, 448), (384, 512), (224, 224), (294, 518), (288, 512), (64, 112)):
        h, w = choose_fine_size(size_hw)
        assert h % 32 == w % 32 == 0
        assert 0.8 < h * w / (256 * 448) < 1.25
        assert abs(h / w / (size_hw[0] / size_hw[1]) - 1) < 0.07
    assert choose_fine_size((256, 448)) == (256, 448)


def test_a_log_without_any_image_fails_in_a_clear_line(world_copy, tmp_path):
    for folder in (world_copy / "samples").glob("CAM_*"):
        for path in folder.iterdir():
            path.unlink()
    run = process(settings_for(world_copy), tmp_path, inline=True)
    assert [log.state for log in run.logs] == ["failed", "failed"]
    assert "none of 3 frames has an image" in (run.logs[0].error or "")
    assert run.scores == ()
    assert list(tmp_path.glob("*.zarr")) == []


def test_the_origin_of_the_ego_frame_may_be_above_the_road(tiny_world):
    """An axle or an IMU for an origin: the same cameras over the same road see the same."""
    scene = open_reader(settings_for(tiny_world)).read("scene-0003")
    settings = resolve(settings_for(tiny_world))
    system = load_system(settings)
    up = np.eye(4)
    up[2, 3] = -0.9  # of a point on the car, seen from an origin 0.9 m higher
    raised = Rig(
        tuple(replace(c, ego_T_cam=up @ c.ego_T_cam) for c in scene.rig.cameras),
        ground_z_m=-0.9,
    )
    answers = []
    for rig in (scene.rig, raised):
        work = prepare_rig(rig, system.size_hw)
        streamer = system.stream(work.rig, settings)
        refiner = FrameRefiner(work, "tracks", "odometry")
        for i in range(3):
            images = prepare_images(scene.frames[i], work)
            last = streamer.step(StreamFrame(images, 0.5 * (i > 0)))
            fine = refiner.prepare(scene.frames[i], images)
            refined, moved = refiner.refine(fine, last, 0.5 * (i > 0), None)
        answers.append((last, refined, moved, predict_ground_plane(work.rig)))
    (plain, tracked, moved, road), (high, high_tracked, high_moved, same_road) = answers
    np.testing.assert_allclose(same_road, road, rtol=1e-6)
    np.testing.assert_allclose(high.depth_m, plain.depth_m, rtol=1e-4)
    assert np.nanmedian(np.abs(tracked.depth_m / plain.depth_m - 1)) > 1e-3  # refined at all
    np.testing.assert_allclose(high_tracked.depth_m, tracked.depth_m, rtol=1e-2)
    for found, expected in (
        (high.prev_T_curr, plain.prev_T_curr),
        (high_tracked.prev_T_curr, tracked.prev_T_curr),
        (high_moved, moved),
    ):
        np.testing.assert_allclose(invert(up) @ found @ up, expected, atol=1e-3)


def test_generated_data_are_said_to_be(finished):
    run, _ = finished
    assert all(log.generated for log in run.logs)
    store = LogStore.open(Path(run.logs[0].store))
    assert store.header.generated
    for protocol in store.protocols():
        assert store.scores_card(protocol)["data"] == "generated, no recording"
