"""KITTI folders: raw drives, or the odometry benchmark's sequences; the root tells which."""

import os
from pathlib import Path
from typing import ClassVar

from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.kitti.odometry import Sequences
from driv3r.datasets.kitti.raw import RawDrives, find_drives
from driv3r.datasets.kitti.splits import EIGEN, SEQUENCES
from driv3r.datasets.reader import Root
from driv3r.errors import DatasetError
from driv3r.types import Scene


class KittiReader:
    """Logs of a KITTI folder by name. Every moment is a keyframe: `sweeps` adds nothing.

    Of raw drives the ego frame is the IMU's (0.93 m over the road), of odometry sequences the left
    grey camera's, turned to x forward, y left, z up (1.65 m).
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        title="KITTI raw, KITTI odometry",
        sensors="2 colour and 2 grey cameras (rectified, about 1242 x 375, 10 Hz), Velodyne "
        "HDL-64E, OXTS RT3003; boxes of the drives that have tracklets",
        splits=(*EIGEN, *SEQUENCES),
        licence="CC BY-NC-SA 3.0",
        source="https://www.cvlibs.net/datasets/kitti/raw_data.php (synced+rectified data, "
        "calibration, tracklets), /eval_odometry.php, /eval_depth.php (annotated depth maps)",
        layout="""\
2011_09_26/                       a day of KITTI raw
  calib_cam_to_cam.txt, calib_velo_to_cam.txt, calib_imu_to_velo.txt
  2011_09_26_drive_0001_sync/     a drive
    image_02/timestamps.txt       and image_03; image_00 and image_01 where only they are there
    image_02/data/*.png
    velodyne_points/timestamps.txt, velodyne_points/data/*.bin
    oxts/timestamps.txt, oxts/data/*.txt
    tracklet_labels.xml           boxes, where there are any
data_depth_annotated/             the depth benchmark's, for --protocol kitti-annotated
  train/2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02/*.png
or KITTI odometry:
sequences/00/                     a sequence
  calib.txt, times.txt
  image_2/*.png                   and image_3; image_0 and image_1 where only they are there
  velodyne/*.bin
poses/00.txt                      of sequences 00 to 10""",
        ground="raw: 0.93 m below the IMU; odometry: 1.65 m below the cameras (KITTI's sensor "
        "setup, https://www.cvlibs.net/datasets/kitti/setup.php)",
    )

    def __init__(self, root: Path, sweeps: bool = False, follow_links: bool = False) -> None:
        base = Root(root.resolve(), follow_links)
        drives, sequences = find_drives(base), os.path.isdir(base.path / "sequences")
        if bool(drives) == sequences:
            found = "both raw drives and sequences" if sequences else "neither raw drives "
            found += "" if sequences else "(2011_09_26/2011_09_26_drive_0001_sync) nor sequences"
            raise DatasetError(
                f"{root} holds {found}; give the folder that holds the days of KITTI raw, synced "
                "and rectified, or that which holds sequences/ (and poses/) of KITTI odometry"
            )
        self._logs = Sequences(base) if sequences else RawDrives(base, drives)

    def scenes(self, split: str) -> tuple[str, ...]:
        """Logs of a split that are there: a known one, `all`, or a log by its own name.

        Raises ConfigError on an unknown split, DatasetError when the folder holds none of it.
        """
        return self._logs.scenes(split)

    def read(self, scene_id: str) -> Scene:
        """One log by its name; its tables are resolved now, its files when frames are indexed.

        Raises DatasetError on an unknown log or tables that do not hold together, UnsafePathError
        on files outside.
        """
        return self._logs.read(scene_id)
