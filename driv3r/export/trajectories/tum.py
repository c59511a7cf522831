"""TUM RGB-D trajectories (Sturm et al., 2012): timestamp tx ty tz qx qy qz qw."""

from pathlib import Path
from typing import Any

from driv3r.export.selection import SelectedLog
from driv3r.export.trajectories.paths import list_poses
from driv3r.geometry.transforms import to_quaternion


def write(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """ego.txt, and a file a camera: world_T_ego and world_T_cam (OpenCV axes).

    Seconds, metres of the log's world, quaternions x y z w. Frames without a pose are left out.
    """
    for poses in list_poses(selected):
        lines = ["# timestamp_s tx ty tz qx qy qz qw"]
        rows = zip(
            poses.time_us.tolist(),
            poses.world_T_src[:, :3, 3].tolist(),
            to_quaternion(poses.world_T_src)[:, [1, 2, 3, 0]].tolist(),
            strict=True,
        )
        for time_us, xyz, xyzw in rows:
            numbers = " ".join(f"{value:.9f}" for value in (*xyz, *xyzw))
            lines.append(f"{time_us // 1_000_000}.{time_us % 1_000_000:06d} {numbers}")
        (folder / f"{poses.src}.txt").write_text("\n".join(lines) + "\n")
    return {"frames_without_pose": selected.count_unknown_poses(), "quaternion": "x y z w"}
