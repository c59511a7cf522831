"""Points of sensor_msgs/PointCloud2: fields of any type at any offset, rows with any padding."""

import numpy as np
from jaxtyping import Float

from driv3r.datasets.rosbag.bag import Message
from driv3r.errors import DatasetError

DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def decode_points(message: Message, where: str) -> Float[np.ndarray, "n 3"]:
    """x, y, z (metres, the message's frame) of all points, NaN where the sensor gave none.

    Raises DatasetError where fields or sizes do not fit the data.
    """
    fields = {field.name: field for field in message.fields}
    missing = [axis for axis in "xyz" if axis not in fields]
    if missing:
        raise DatasetError(
            f"the cloud lacks the fields {', '.join(missing)}, it has "
            f"{', '.join(fields) or 'none'}: {where}"
        )
    for axis in "xyz":
        if fields[axis].datatype not in DATATYPES or fields[axis].count not in (0, 1):
            raise DatasetError(
                f"the cloud's {axis} has datatype {fields[axis].datatype} and count "
                f"{fields[axis].count}, expected 1 to 8 and 1: {where}"
            )
    order = ">" if message.is_bigendian else "<"
    formats = [np.dtype(order + DATATYPES[fields[axis].datatype]) for axis in "xyz"]
    offsets = [fields[axis].offset for axis in "xyz"]
    end = max(offset + each.itemsize for offset, each in zip(offsets, formats, strict=True))
    width, height, step, row = message.width, message.height, message.point_step, message.row_step
    if step < end or row < width * step or len(message.data) != height * row:
        raise DatasetError(
            f"the cloud has {len(message.data)} bytes, {height} rows of {row} and {width} points "
            f"of {step}, whose x, y, z end at {end}: these do not fit: {where}"
        )
    rows = message.data.reshape(height, row)[:, : width * step]
    dtype = np.dtype(
        {"names": list("xyz"), "formats": formats, "offsets": offsets, "itemsize": step}
    )
    points = np.frombuffer(np.ascontiguousarray(rows).tobytes(), dtype)
    return np.stack([points[axis] for axis in "xyz"], axis=-1).astype(np.float32)
