"""What looks wrong about the rig of a scene, by the checks of rig files."""

from driv3r.datasets.folder.rig_check import Finding, check_rig
from driv3r.datasets.folder.rig_file import LENSES, RigCamera, RigFile
from driv3r.types import Camera, Rig


def check_calibration(rig: Rig) -> list[Finding]:
    """Rotations, places, axes and lenses of a rig that no car has."""
    cameras = tuple(_as_of_file(camera) for camera in rig.cameras)
    found = check_rig(RigFile(cameras, rig.ego_T_lidar, rig.ground_z_m))
    # Which centre of pixels a rig file means is asked of files only: a reader has one convention.
    return [finding for finding in found if "half a pixel" not in finding.given]


def _as_of_file(camera: Camera) -> RigCamera:
    K = camera.K.copy()
    K[:2, 2] -= 0.5
    names = [name for name, (model, _) in LENSES.items() if model == camera.lens]
    lens = names[-1] if camera.distortion else names[0]
    return RigCamera(camera.name, camera.size_hw, K, camera.ego_T_cam, lens, camera.distortion)
