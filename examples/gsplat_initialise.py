"""Loads an exported log as what gsplat's rasterization takes: gaussians, cameras, images, masks.

    driv3r export out/demo/scene-0003.zarr --to 3dgs,nerfstudio --images copy --root data/nuscenes
    python examples/gsplat_initialise.py out/demo/export/scene-0003

The training itself, with gsplat and a GPU, then is

    renders, alphas, _ = gsplat.rasterization(**gaussians, viewmats=view["viewmats"],
        Ks=view["Ks"], width=view["width"], height=view["height"], sh_degree=3)
    loss = ((renders - view["image"]).abs() * view["mask"]).mean()
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import trimesh


def load_gaussians(path: Path) -> dict[str, torch.Tensor]:
    """means [n 3] in metres, quats [n 4] w x y z, scales [n 3] in metres, opacities [n], colors
    [n 16 3] as spherical harmonics of degree 3: the names of gsplat's arguments.
    """
    rows = trimesh.load(path, process=False).metadata["_ply_raw"]["vertex"]["data"]

    def columns(*names: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([rows[n].reshape(-1) for n in names], axis=-1))

    rest = columns(*(f"f_rest_{i}" for i in range(45))).reshape(-1, 3, 15).transpose(1, 2)
    return {
        "means": columns("x", "y", "z"),
        "quats": columns("rot_0", "rot_1", "rot_2", "rot_3"),
        "scales": columns("scale_0", "scale_1", "scale_2").exp(),
        "opacities": columns("opacity")[:, 0].sigmoid(),
        "colors": torch.cat([columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None], rest], dim=1),
    }


def load_views(folder: Path) -> Iterator[dict[str, Any]]:
    """viewmats [1 4 4] (cam_T_world, OpenCV axes), Ks [1 3 3], width, height, image [1 h w 3] in
    0..1, mask [1 h w 1] (1 where nothing moves), depth_m [1 h w 1] (0 for none) of every view.
    """
    for told in json.loads((folder / "transforms.json").read_text())["frames"]:
        world_T_cam = np.array(told["transform_matrix"]) @ np.diag([1.0, -1.0, -1.0, 1.0])
        K = np.array([[told["fl_x"], 0, told["cx"]], [0, told["fl_y"], told["cy"]], [0, 0, 1]])
        image = cv2.imread(str(folder / told["file_path"]))
        if image is None:
            raise SystemExit(f"{folder} has no images: export with --images copy --root DATASET")
        mask = cv2.imread(str(folder / told["mask_path"]), cv2.IMREAD_UNCHANGED)
        depth = cv2.imread(str(folder / told["depth_file_path"]), cv2.IMREAD_UNCHANGED)
        yield {
            "viewmats": torch.from_numpy(np.linalg.inv(world_T_cam))[None].float(),
            "Ks": torch.from_numpy(K)[None].float(),
            "width": told["w"],
            "height": told["h"],
            "image": torch.from_numpy(image[..., ::-1].copy())[None] / 255.0,
            "mask": torch.from_numpy(mask)[None, ..., None] / 255.0,
            "depth_m": torch.from_numpy(depth.astype(np.float32))[None, ..., None] / 1000.0,
        }


def share_in_view(gaussians: dict[str, torch.Tensor], view: dict[str, Any]) -> float:
    """Share of the gaussians' centres that lie in a view's image."""
    cam_T_world, K = view["viewmats"][0], view["Ks"][0]
    points_cam = gaussians["means"] @ cam_T_world[:3, :3].T + cam_T_world[:3, 3]
    u, v = ((points_cam @ K.T)[:, :2] / points_cam[:, 2:]).T
    inside = (points_cam[:, 2] > 0) & (u > 0) & (v > 0) & (u < view["width"]) & (v < view["height"])
    return float(inside.float().mean())


def main() -> None:
    """Load all and tell how it hangs together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="An exported log, with 3dgs/ and nerfstudio/.")
    folder = parser.parse_args().folder
    gaussians = load_gaussians(folder / "3dgs/point_cloud.ply")
    shares = [share_in_view(gaussians, view) for view in load_views(folder / "nerfstudio")]
    print(f"{len(gaussians['means'])} gaussians, {len(shares)} views")
    print(f"a view sees {np.mean(shares):.0%} of the gaussians on average")


if __name__ == "__main__":
    main()
