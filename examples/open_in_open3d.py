"""Opens an exported log in Open3D: the static map with its normals, and one frame's objects.

    driv3r export out/demo/scene-0003.zarr --to ply
    pip install open3d
    python examples/open_in_open3d.py out/demo/export/scene-0003/ply --frame 3

CloudCompare opens the same files, and those of --to laz: CloudCompare static.laz moving/000003.laz
"""

import argparse
from pathlib import Path

import open3d


def read_clouds(folder: Path, frame: int) -> list:
    """The static map, and the frame's objects where there are any. Metres, z up."""
    paths = [folder / "static.ply", folder / f"moving/{frame:06d}.ply"]
    return [open3d.io.read_point_cloud(str(path)) for path in paths if path.exists()]


def main() -> None:
    """Show the clouds in a window, or only tell of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="The folder ply/ of an exported log.")
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--no-window", action="store_true", help="Tell of the clouds only.")
    options = parser.parse_args()
    clouds = read_clouds(options.folder, options.frame)
    for cloud in clouds:
        size_m = cloud.get_axis_aligned_bounding_box().get_extent()
        print(f"{len(cloud.points)} points over {size_m[0]:.1f} x {size_m[1]:.1f} m")
    if not options.no_window:
        open3d.visualization.draw_geometries(clouds, window_name=str(options.folder))


if __name__ == "__main__":
    main()
