"""Writes tests/goldens/pykitti.json: what pykitti says of the tests' drive and of more packets.

`PYTHONPATH=. python -m tests.datasets.make_pykitti_golden`, where pykitti 0.3.1 is installed.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pykitti  # pyright: ignore[reportMissingImports]
from pykitti.utils import load_oxts_packets_and_poses  # pyright: ignore[reportMissingImports]

from tests.datasets import tiny_kitti as tiny

# A bend over a kilometre, turned about all axes.
PACKETS = [
    [49.015003823272, 8.4342971002335, 116.43032836914, 0.035752, 0.00903, -2.6087069803847],
    [49.018, 8.4411, 120.0, -0.3, 0.25, 0.1],
    [49.024, 8.4450, 90.5, 0.9, -0.7, 3.1],
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = tiny.write_raw(Path(folder))
        drive = pykitti.raw(str(root), tiny.DATE, "0001")
        golden = {"T_w_imu": [each.T_w_imu.tolist() for each in drive.oxts]}
        for name in ("T_velo_imu", "T_cam2_imu", "T_cam3_imu", "K_cam2", "K_cam3"):
            golden[name] = np.asarray(getattr(drive.calib, name)).tolist()
        file = root / "packets.txt"
        lines = [" ".join(f"{v!r}" for v in [*packet, *[0.0] * 24]) for packet in PACKETS]
        file.write_text("\n".join(lines))
        poses = [each.T_w_imu.tolist() for each in load_oxts_packets_and_poses([str(file)])]
    golden |= {"packets": PACKETS, "packets_T_w_imu": poses}
    path = Path(__file__).parents[1] / "goldens" / "pykitti.json"
    path.write_text(json.dumps({"made_by": __doc__, **golden}, indent=1) + "\n")


if __name__ == "__main__":
    main()
