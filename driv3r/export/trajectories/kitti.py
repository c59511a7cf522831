"""KITTI odometry poses (Geiger et al., 2012): the upper three rows of world_T_src, row by row."""

from pathlib import Path
from typing import Any

from driv3r.export.selection import SelectedLog
from driv3r.export.trajectories.paths import list_poses


def write(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """ego.txt, and a file a camera, with times beside each (<name>_times.txt, seconds from start).

    Metres of the log's world, which need not begin at the identity, as KITTI's own do. Frames
    without a pose are left out of both files.
    """
    start_us = int(selected.time_us[0])
    for poses in list_poses(selected):
        rows = poses.world_T_src[:, :3].reshape(-1, 12)
        lines = [" ".join(f"{value:.12e}" for value in row) for row in rows]
        times = [f"{(time_us - start_us) * 1e-6:.6f}" for time_us in poses.time_us.tolist()]
        (folder / f"{poses.src}.txt").write_text("".join(f"{line}\n" for line in lines))
        (folder / f"{poses.src}_times.txt").write_text("".join(f"{time}\n" for time in times))
    return {"frames_without_pose": selected.count_unknown_poses(), "start_us": start_us}
