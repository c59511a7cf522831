"""EuRoC MAV trajectory (Burri et al., 2016): time in ns, position, quaternion w x y z."""

from pathlib import Path
from typing import Any

from driv3r.export.selection import SelectedLog
from driv3r.export.trajectories.paths import ego_poses
from driv3r.geometry.transforms import to_quaternion

HEADER = (
    "#timestamp [ns],p_RS_R_x [m],p_RS_R_y [m],p_RS_R_z [m],q_RS_w [],q_RS_x [],q_RS_y [],q_RS_z []"
)


def write(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """data.csv: world_T_ego, R the log's world and S the car.

    The columns of EuRoC's state_groundtruth_estimate0 up to the quaternion: the velocity and the
    biases of an IMU, which follow there, are not known. Frames without a pose are left out.
    """
    poses = ego_poses(selected)
    lines = [HEADER]
    rows = zip(
        poses.time_us.tolist(),
        poses.world_T_src[:, :3, 3].tolist(),
        to_quaternion(poses.world_T_src).tolist(),
        strict=True,
    )
    for time_us, xyz, wxyz in rows:
        numbers = ",".join(f"{value:.9f}" for value in (*xyz, *wxyz))
        lines.append(f"{time_us * 1000},{numbers}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    return {"frames_without_pose": selected.count_unknown_poses(), "quaternion": "w x y z"}
