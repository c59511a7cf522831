"""Does the network wait for frames? How long reading takes, and how much of it is waited for.

    python benchmarks/reading.py [--dataset nuscenes --root data/nuscenes --split val]
    python benchmarks/reading.py --written 900 1600 --frames 12
    python benchmarks/reading.py --dataset pandaset --root data/pandaset --split 002 --reduced

Prints for one log, on one thread and with one reading thread beside it: milliseconds a frame of
decoding and of resizing, beside plain cv2.imdecode and cv2.resize, and beside decoding at a part
of the size (libjpeg's scaled DCT); then the share of time that `driv3r process` waits for frames
as it predicts, with frames read ahead and without. `--written` makes a log of JPEGs of a size.
`--reduced` processes the split twice instead, decoding in full and at half size, and prints what
depth it makes: Abs Rel and delta1 at metric scale, and with each view's median scaled.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import cv2
import numpy as np
import yaml

from driv3r import process
from driv3r.datasets import open_dataset, reader
from driv3r.datasets.preprocess import WorkRig, prepare_images, prepare_rig
from driv3r.datasets.reader import Datum, LazyFrames
from driv3r.inference.registry import System, load_system
from driv3r.pipelines import predict
from driv3r.pipelines.process import make_settings
from driv3r.pipelines.worker import limited_threads
from driv3r.settings import Settings
from driv3r.types import Scene

EVERY_US = 500_000
QUALITY = 92


def write_log(folder: Path, size_hw: tuple[int, int], frames: int) -> Path:
    """A folder of six cameras' JPEGs: blurred noise, of some 0.25 bytes a pixel as photographs."""
    rng, (height, width) = np.random.default_rng(0), size_hw
    cameras = []
    for i in range(6):
        turn = np.radians(60 * i)
        ahead, left = [np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0]
        ego_T_cam = np.eye(4)
        ego_T_cam[:3, :3] = np.array([np.negative(left), [0, 0, -1], ahead]).T
        ego_T_cam[:3, 3] = [*ahead[:2], 1.6]
        cameras.append({
            "name": f"cam{i}", "size_wh": [width, height], "fx": 0.8 * width, "fy": 0.8 * width,
            "cx": (width - 1) / 2, "cy": (height - 1) / 2, "ego_T_cam": ego_T_cam.tolist(),
        })  # fmt: skip
        (folder / "images" / f"cam{i}").mkdir(parents=True)
        for frame in range(frames):
            fine = rng.integers(0, 255, (height // 2, width // 2, 3)).astype(np.uint8)
            coarse = cv2.resize(rng.integers(0, 255, (9, 16, 3)).astype(np.uint8), (width, height))
            image = cv2.addWeighted(coarse, 0.8, cv2.resize(fine, (width, height)), 0.2, 0)
            path = folder / "images" / f"cam{i}" / f"{10**15 + frame * EVERY_US}.jpg"
            cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    (folder / "rig.yaml").write_text(
        yaml.safe_dump({"pixel_centre": "integer", "cameras": cameras})
    )
    return folder


def seconds_of(work: Callable[[], Any], times: int) -> float:
    """Of one call, the fastest of some."""
    took_s = []
    for _ in range(times):
        since = time.perf_counter()
        work()
        took_s.append(time.perf_counter() - since)
    return min(took_s)


def tell_decoding(scene: Scene, work: WorkRig) -> None:
    """Ours beside OpenCV alone, for the images of the middle frame."""
    assert isinstance(scene.frames, LazyFrames)
    middle = len(scene.frames) // 2
    paths = [d.path for d in scene.frames.sources(middle).cameras if isinstance(d, Datum)]
    size_wh = work.rig.cameras[0].size_hw[::-1]
    frame = scene.frames[middle]

    def plain(flags: int) -> list[np.ndarray]:
        decoded = [cv2.imdecode(np.fromfile(path, np.uint8), flags) for path in paths]
        colours = [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in decoded]
        return [cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA) for image in colours]

    told = {
        "ours, decode (and LiDAR)": lambda: scene.frames[middle],
        "ours, resize": lambda: prepare_images(frame, work),
        "cv2.imdecode + resize": lambda: plain(cv2.IMREAD_COLOR),
        "at half size, then resize": lambda: plain(cv2.IMREAD_REDUCED_COLOR_2),
        "at a quarter, then resize": lambda: plain(cv2.IMREAD_REDUCED_COLOR_4),
    }
    for name, call in told.items():
        print(
            f"{name + ':':<28}{1000 * seconds_of(call, 5):7.1f} ms a frame of {len(paths)} images"
        )


class Waited:
    """Stands for predict.read_ahead: as it is or without reading ahead, and counts the waiting."""

    def __init__(self, ahead: bool) -> None:
        self.read_ahead, self.ahead, self.seconds = predict.read_ahead, ahead, 0.0

    def __call__(self, read: Callable[[int], Any], indices: range) -> Iterator[tuple[int, Any]]:
        """As read_ahead."""
        frames = self.read_ahead(read, indices) if self.ahead else ((i, read(i)) for i in indices)
        while True:
            since = time.perf_counter()
            given = next(frames, None)
            self.seconds += time.perf_counter() - since
            if given is None:
                return
            yield given


def tell_waiting(scene: Scene, work: WorkRig, system: System, settings: Settings) -> None:
    """The share of the prediction stage that is spent in waiting for frames."""
    for ahead in (False, True):
        waited, writer = Waited(ahead), Mock()  # takes the frames, and keeps none
        writer.load_state.return_value = None
        stream = system.stream(work.rig, settings)
        since = time.perf_counter()
        with patch.object(predict, "read_ahead", waited):
            for _ in predict.predict_frames(scene, work, writer, stream, settings):
                pass
        took_s = time.perf_counter() - since
        way = "read ahead" if ahead else "read when due"
        frame_s, share = took_s / len(scene.frames), waited.seconds / took_s
        print(f"{way + ':':<28}{share:7.1%} of {frame_s:.2f} s a frame waited")


def read_reduced(path: Path, size_hw: tuple[int, int]) -> np.ndarray:
    """As `read_image`, of every pixel that decoding at half size gives made four.

    Area averaging then gives what it would give of the smaller image.
    """
    data = np.fromfile(path, np.uint8)
    half = cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION)
    full = half.repeat(2, axis=0).repeat(2, axis=1)[: size_hw[0], : size_hw[1], ::-1]
    return np.ascontiguousarray(full)


def tell_quality(options: argparse.Namespace, folder: Path) -> None:
    """Figures of depth with images decoded in full and at half size."""
    for name, read in (("in full", None), ("at half size", read_reduced)):
        with patch.object(reader, "read_image", read or reader.read_image):
            run = process(
                options.dataset, options.root, options.split, folder / name.replace(" ", "-"),
                inline=True, device=options.device,
            )  # fmt: skip
        figures = {
            f"{s.metric} ({s.scaling})": f"{s.value:.4f}"
            for s in run.scores
            if s.camera == "all" and s.metric in ("abs_rel", "delta1")
            and s.scaling in ("metric", "per_view") and s.subject == "driv3r-s"
        }  # fmt: skip
        print(f"decoded {name}: {figures}")


def main() -> None:
    """Time one log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="nuscenes")
    parser.add_argument("--root", type=Path, default=Path("data/nuscenes"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--written", type=int, nargs=2, metavar=("H", "W"))
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--reduced", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.reduced:
            tell_quality(options, Path(folder))
            return
        name, root, split = options.dataset, options.root, options.split
        if options.written:
            root = write_log(Path(folder) / "log", tuple(options.written), options.frames)
            name, split = "folder", "all"
        settings = make_settings(dataset=name, root=root, split=split, device=options.device)
        dataset = open_dataset(name, root)
        scene = dataset.read(dataset.scenes(split)[0])
        few = slice(0, options.frames)
        frames: Any = scene.frames[few]
        scene = replace(
            scene, frames=frames, time_us=scene.time_us[few], is_keyframe=scene.is_keyframe[few]
        )
        with limited_threads(settings.threads):
            system = load_system(settings)
            work = prepare_rig(scene.rig, system.size_hw)
            print(f"{name} {scene.id}: images {scene.rig.cameras[0].size_hw} -> {system.size_hw}")
            tell_decoding(scene, work)
            tell_waiting(scene, work, system, settings)


if __name__ == "__main__":
    main()
