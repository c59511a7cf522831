"""The protobuf messages of v1 records, described when they are first needed.

Field numbers and types are those of Waymo's dataset.proto and label.proto (its enums are int32
here); what is not read is left out. A matrix's numbers are packed, so that on the wire they are
bytes: the 32-bit floats themselves. Waymo's own generated classes come in a package that pins
TensorFlow.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from driv3r.errors import ConfigError

PACKAGE = "driv3r.waymo"
FIELDS = {  # number, name, type; * for repeated
    "Transform": "1 transform double*",
    "Velocity": "1 v_x float, 2 v_y float, 3 v_z float, 4 w_x double, 5 w_y double, 6 w_z double",
    "CameraCalibration": "1 name int32, 2 intrinsic double*, 3 extrinsic Transform, "
    "4 width int32, 5 height int32, 6 rolling_shutter_direction int32",
    "LaserCalibration": "1 name int32, 2 beam_inclinations double*, "
    "3 beam_inclination_min double, 4 beam_inclination_max double, 5 extrinsic Transform",
    "Context": "1 name string, 2 camera_calibrations CameraCalibration*, "
    "3 laser_calibrations LaserCalibration*",
    "CameraImage": "1 name int32, 2 image bytes, 3 pose Transform, 4 velocity Velocity, "
    "5 pose_timestamp double, 6 shutter double, 7 camera_trigger_time double, "
    "8 camera_readout_done_time double",
    "RangeImage": "2 range_image_compressed bytes, 4 range_image_pose_compressed bytes",
    "Laser": "1 name int32, 2 ri_return1 RangeImage, 3 ri_return2 RangeImage",
    "MatrixShape": "1 dims int32*",
    "MatrixFloat": "1 data bytes, 2 shape MatrixShape",
    "Box": "1 center_x double, 2 center_y double, 3 center_z double, 5 length double, "
    "4 width double, 6 height double, 7 heading double",
    "Metadata": "1 speed_x double, 2 speed_y double, 5 speed_z double",
    "Label": "1 box Box, 2 metadata Metadata, 3 type int32, 4 id string",
    "Frame": "1 context Context, 2 timestamp_micros int64, 3 pose Transform, "
    "4 images CameraImage*, 5 lasers Laser*, 6 laser_labels Label*",
}


@cache
def load_messages() -> dict[str, Any]:
    """Message classes of FIELDS by name; ConfigError where protobuf is not installed."""
    return make_messages(FIELDS)


def make_messages(messages: Mapping[str, str]) -> dict[str, Any]:
    """Message classes by name, of fields as FIELDS has them.

    Raises ConfigError, which tells what to install, where protobuf is not there.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise ConfigError(
            f"Waymo's v1 records need protobuf ({error}): pip install 'driv3r[waymo]'"
        ) from error
    file = descriptor_pb2.FileDescriptorProto(
        name="driv3r/waymo.proto", package=PACKAGE, syntax="proto2"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, field_name, kind in (each.split() for each in fields.split(", ")):
            plain = kind.rstrip("*")
            field = message.field.add(
                number=int(number),
                name=field_name,
                label=kinds.LABEL_OPTIONAL if kind == plain else kinds.LABEL_REPEATED,
            )
            if plain in messages:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{plain}"
            else:
                field.type = getattr(kinds, f"TYPE_{plain.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in messages
    }
