"""Other datasets in nuScenes' schema: MAN TruckScenes, Lyft Level 5 Perception, TIER IV's T4."""

from typing import ClassVar

from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.nuscenes.layouts import LYFT, T4, TRUCKSCENES, Layout
from driv3r.datasets.nuscenes.splits import OfficialSplitsReader, truckscenes_splits
from driv3r.datasets.nuscenes.tables_reader import TablesReader


class TruckScenesReader(OfficialSplitsReader):
    """Scenes of MAN TruckScenes: four cameras, and six LiDARs as one sweep."""

    layout: ClassVar[Layout] = TRUCKSCENES
    card: ClassVar[DatasetCard] = DatasetCard(
        title="MAN TruckScenes",
        sensors="4 cameras 1980x943, 6 LiDARs as one sweep, boxes; keyframes 2 Hz, --sweeps 10 Hz",
        splits=("train", "val", "test", "mini_train", "mini_val"),
        licence="CC BY-NC-SA 4.0 with MAN's terms of use (no commercial use)",
        source="https://www.man.eu/truckscenes, or the AWS Open Data Registry",
        layout="""\
v1.0-trainval/                    or v1.0-mini, v1.0-test: the JSON tables
samples/CAMERA_LEFT_FRONT/*.jpg   and three more cameras: keyframes
samples/LIDAR_LEFT/*.pcd          and five more LiDARs
sweeps/...                        frames between, for --sweeps""",
        ground="taken to be on the road: the tables give the truck's height as 0 throughout",
    )

    def official(self) -> dict[str, list[str]]:
        """Those of TruckScenes' devkit."""
        return truckscenes_splits()


class LyftReader(TablesReader):
    """Scenes of Lyft Level 5 Perception: seven cameras, and up to three LiDARs as one sweep."""

    layout: ClassVar[Layout] = LYFT
    card: ClassVar[DatasetCard] = DatasetCard(
        title="Lyft Level 5 Perception",
        sensors="7 cameras 1224x1024 or 1920x1080, up to 3 LiDARs as one sweep, boxes; 5 Hz",
        splits=("data", "train_data", "test_data"),
        licence="CC BY-NC-SA 4.0",
        source="https://www.kaggle.com/c/3d-object-detection-for-autonomous-vehicles/data",
        layout="""\
data/*.json                       the tables; Kaggle: train_data/
images/*.jpeg                     Kaggle: train_images/
lidar/*.bin                       Kaggle: train_lidar/""",
        ground="taken to be on the road; `driv3r datasets check lyft` measures it",
    )


class T4Reader(TablesReader):
    """T4 datasets, each a scene by its folder's name."""

    layout: ClassVar[Layout] = T4
    card: ClassVar[DatasetCard] = DatasetCard(
        title="T4 (TIER IV)",
        sensors="cameras with lens distortion, joined LiDARs in the ego frame, boxes",
        splits=("a dataset's id",),
        licence="as each dataset has it",
        source="https://github.com/tier4/tier4_perception_dataset makes them of ROS 2 bags",
        layout="""\
<dataset id>/annotation/*.json    the tables; or <dataset id>/<version>/annotation
<dataset id>/data/CAM_FRONT/*.jpg
<dataset id>/data/LIDAR_CONCAT/*.pcd.bin""",
        ground="on the road: ROS's base_link, below the middle of the rear axle",
    )
