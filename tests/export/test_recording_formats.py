"""Recordings, read back by the mcap library (schemas decoded from the file) and by Rerun."""

import numpy as np
import pytest
from made_drive import (
    CAR,
    START_US,
    STEP_US,
    WALKER,
    H,
    W,
    make_cameras,
    make_moving,
    make_record,
    make_static,
    place_ego,
)  # fmt: skip
from scipy.spatial.transform import Rotation

from driv3r.store.writer import sort_static

MOVING = make_moving()


def read_mcap(path) -> dict[str, list]:
    """Log time in ns, schema name and decoded message, by topic."""
    reader = pytest.importorskip("mcap.reader")
    decoder = pytest.importorskip("mcap_protobuf.decoder")
    pytest.importorskip("foxglove_schemas_protobuf")
    topics: dict[str, list] = {}
    with path.open("rb") as file:
        made = reader.make_reader(file, decoder_factories=[decoder.DecoderFactory()])
        for schema, channel, message, decoded in made.iter_decoded_messages():
            topics.setdefault(channel.topic, []).append((message.log_time, schema.name, decoded))
    return topics


@pytest.fixture
def topics(export) -> dict[str, list]:
    pytest.importorskip("mcap_protobuf")
    return read_mcap(export("mcap") / "log.mcap")


def test_mcap_has_foxgloves_messages(topics):
    assert {topic: rows[0][1] for topic, rows in topics.items()} == {
        "/static": "foxglove.PointCloud",
        "/path": "foxglove.PosesInFrame",
        "/tf": "foxglove.FrameTransforms",
        "/objects": "foxglove.SceneUpdate",
        "/CAM_FRONT/depth/image": "foxglove.RawImage",
        "/CAM_FRONT/depth/camera_info": "foxglove.CameraCalibration",
        "/CAM_BACK/depth/image": "foxglove.RawImage",
        "/CAM_BACK/depth/camera_info": "foxglove.CameraCalibration",
    }
    assert [rows[0] for rows in topics["/objects"]] == [
        (START_US + STEP_US * frame) * 1000 for frame in range(5)
    ]
    _, _, cloud = topics["/static"][0]
    kinds = {1: "u1", 6: "<i4", 7: "<f4"}
    layout = {
        "names": [field.name for field in cloud.fields],
        "formats": [kinds[field.type] for field in cloud.fields],
        "offsets": [field.offset for field in cloud.fields],
        "itemsize": cloud.point_stride,
    }
    rows = np.frombuffer(cloud.data, np.dtype(layout))
    static = sort_static(make_static())
    xyz = np.stack([rows[axis] for axis in "xyz"], axis=-1)
    np.testing.assert_allclose(xyz, static.points_world, atol=1e-6)
    np.testing.assert_array_equal(rows["green"], static.rgb[:, 1])


def test_mcap_places_the_car_and_its_cameras(topics):
    _, _, message = topics["/tf"][3]
    found = {t.child_frame_id: t for t in message.transforms}
    car = found["ego"].translation
    expected = place_ego(START_US + 3 * STEP_US)[:3, 3]
    np.testing.assert_allclose([car.x, car.y, car.z], expected, atol=1e-12)
    stamp = found["ego"].timestamp
    assert stamp.seconds * 10**9 + stamp.nanos == (START_US + 3 * STEP_US) * 1000
    front = found["CAM_FRONT"]
    assert front.parent_frame_id == "ego"
    turn = Rotation.from_quat(
        [front.rotation.x, front.rotation.y, front.rotation.z, front.rotation.w]
    )
    np.testing.assert_allclose(turn.as_matrix(), make_cameras()[0].ego_T_cam[:3, :3], atol=1e-12)
    _, _, calibration = topics["/CAM_BACK/depth/camera_info"][0]
    assert calibration.K[2] == pytest.approx(15.0)  # from the first pixel's centre
    assert list(calibration.D) == [0.0] * 5
    assert (calibration.width, calibration.height) == (W, H)


def test_mcap_has_boxes_and_depth(topics):
    _, _, update = topics["/objects"][1]
    assert [entity.id for entity in update.entities] == [str(CAR), str(WALKER)]
    box = update.entities[0].cubes[0]
    assert [box.size.x, box.size.y, box.size.z] == MOVING.size_m[CAR].tolist()
    state = np.flatnonzero((MOVING.frame == 1) & (MOVING.track_id == CAR))[0]
    center = [box.pose.position.x, box.pose.position.y, box.pose.position.z]
    np.testing.assert_allclose(center, MOVING.world_T_object[state, :3, 3], atol=1e-12)
    assert update.deletions[0].type == 1  # all of the frame before
    _, _, image = topics["/CAM_FRONT/depth/image"][0]
    assert image.encoding == "16UC1"
    depth_m = np.frombuffer(image.data, "<u2").reshape(image.height, image.width) / 1000
    truth = np.nan_to_num(make_record(0).prediction.depth_m[0])
    truth = np.where(truth < 65.535, truth, 0)  # 16 bits reach no further
    np.testing.assert_allclose(depth_m, truth, atol=0.0006 + 1e-4 * truth.max())


def test_mcap_has_the_recorded_images_where_asked(export, images_root):
    pytest.importorskip("mcap_protobuf")
    topics = read_mcap(export("mcap", images="copy", root=images_root) / "log.mcap")
    _, _, image = topics["/CAM_FRONT/image"][1]
    assert image.format == "png"
    assert image.data == (images_root / "samples/CAM_FRONT/1.png").read_bytes()
    assert topics["/CAM_FRONT/camera_info"][0][2].width == 2 * W + 12


def test_rerun_reads_its_recording(export):
    """Rerun is no requirement of the tests, for its size: pip install 'driv3r[rerun]'."""
    pytest.importorskip("rerun")
    from rerun import dataframe

    recording = dataframe.load_recording(export("rerun") / "log.rrd")
    assert recording.recording_id() == "drive-1"
    view = recording.view(index="time", contents="/world/ego/**")
    table = view.select().read_pandas()
    column = next(name for name in table.columns if "translation" in name.lower())
    places = np.stack([np.concatenate(list(row)) for row in table[column].dropna()])
    expected = [place_ego(START_US + STEP_US * frame)[:3, 3] for frame in range(4)]
    np.testing.assert_allclose(places, expected, atol=1e-6)
    names = {column.entity_path for column in recording.schema().component_columns()}
    assert {"/world/static", "/world/path", "/world/objects", "/world/CAM_BACK/maps/depth"} <= names
