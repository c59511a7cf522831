"""One log from images to a sealed store: the stages in order."""

import contextlib
import errno
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from driv3r.datasets import Reader, open_dataset
from driv3r.datasets.preprocess import WorkRig, prepare_images, prepare_rig
from driv3r.errors import Driv3rError
from driv3r.evaluation.log_evaluator import EvalPart, LogScorer
from driv3r.evaluation.records import LogResult
from driv3r.fusion import FrameWindow, FusedFrame, FusionConfig, fuse
from driv3r.fusion.sweeps import PlacedSweep, clean_sweep
from driv3r.fusion.tiles import Arrays, TileCache
from driv3r.geometry.transforms import invert
from driv3r.inference.registry import System, load_system
from driv3r.pipelines.job import Job
from driv3r.pipelines.predict import check_poses, find_image, predict_frames, scale_of
from driv3r.pipelines.preflight import make_provenance
from driv3r.reporting.log_images import LogImageWriter
from driv3r.settings import Provenance, Settings
from driv3r.store.reconstruction import Reconstruction
from driv3r.store.schema import FrameRecord, LogHeader
from driv3r.store.writer import LogWriter
from driv3r.types import Camera, Frame, FusionSource, Images, Scene

KEPT_BYTES = 2**28  # of working images in memory: 130 frames of six; others go to temporary files
ASSUMED = "up to scale, in metres as far as what is assumed of the cameras is true; "
StageReport = Callable[[str, int, int], None]
ReadFrame = Callable[[int], FrameRecord]
T = TypeVar("T")


class LogWorker:
    """Processes logs one after another; the network and the dataset are opened once.

    A `reader` that is open already may be given.
    """

    def __init__(self, settings: Settings, reader: Reader | None = None):
        self.settings = settings
        self._reader = reader

    @cached_property
    def reader(self) -> Reader:
        """The dataset."""
        return open_reader(self.settings) if self._reader is None else self._reader

    @cached_property
    def provenance(self) -> Provenance:
        """How its logs come to be; weights are hashed once."""
        return make_provenance(self.settings)

    @cached_property
    def system(self) -> System:
        """The network with its weights."""
        return load_system(self.settings)

    def run(self, job: Job, report: StageReport) -> LogResult:
        """Seal the log's store; what goes wrong fails this log and no other."""
        try:
            with limited_threads(self.settings.threads):
                self._run(job, report)
        except Driv3rError as error:
            return LogResult(job.scene_id, "failed", f"{type(error).__name__}: {error}")
        except OSError as error:
            return LogResult(job.scene_id, "failed", explain_disk(error, job))
        except Exception as error:  # a fault of ours must not take the other logs with it
            return LogResult(job.scene_id, "failed", note_fault(error, job))
        return LogResult(job.scene_id, "done")

    def _run(self, job: Job, report: StageReport) -> None:
        settings, seconds = self.settings, {}
        with _timed(seconds, "read tables"):
            system, scene = self.system, self.reader.read(job.scene_id)
            work = prepare_rig(scene.rig, system.size_hw)
            check_poses(scene, settings)
            find_image(scene)
        header = make_header(settings, self.provenance, scene, work, system)
        writer = LogWriter(job.staging, header)
        scorer = LogScorer(
            settings.protocol, work.rig, settings.model, settings.ego_poses, scene.generated,
            settings.fuse, header.scale,
        )  # fmt: skip
        painter, kept = LogImageWriter(job.scene_id, len(scene.frames)), TileCache(KEPT_BYTES)
        with _timed(seconds, "predict"):
            streamer = system.stream(work.rig, settings)
        answers = predict_frames(scene, work, writer, streamer, settings)
        for stored in _timed_each(seconds, "predict", answers):
            with _timed(seconds, "score"):
                scorer.add(stored)
                painter.add(stored, scorer)
                given = work.rig.cameras, stored.frame, stored.images, stored.record
                kept[stored.index] = keep_input(*given, settings.fuse)
            report("predict", stored.index + 1, len(scene.frames))
        with _timed(seconds, "fuse"):
            fused = fuse_log(
                scene, work, writer.read_frame, lambda n: report("fuse", n, len(scene.frames)),
                settings.threads, settings.fuse, kept,
            )  # fmt: skip
        with _timed(seconds, "score the fusion"):
            parts = scorer.finish(fused)
        with _timed(seconds, "store"):
            writer.write_repairs([*scene.repairs, *(r for f in scorer.repairs for r in f)])
            writer.write_reconstruction(fused)
            write_scores(writer, parts)
            writer.write_pictures(painter.pictures)
        writer.write_seconds({name: round(value, 3) for name, value in seconds.items()})
        writer.seal()


def open_reader(settings: Settings) -> Reader:
    """The dataset of a run."""
    return open_dataset(
        settings.dataset,
        settings.root,
        sweeps=settings.sweeps,
        follow_links=settings.follow_links,
        split_file=settings.split_file,
        rig=settings.rig,
    )


def write_scores(writer: LogWriter, parts: tuple[EvalPart, ...]) -> None:
    """The figures of every protocol."""
    for part in parts:
        values = (part.protocol, part.card, part.scores, part.per_view, part.lost, part.dims)
        writer.write_scores(*values)


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Compute on so many CPU threads, and put back what the process had.

    BLAS counts too: it splits sums by thread, and Ray sets its threads to 1 where a shell does not.
    """
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    try:
        with threadpool_limits(count, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def explain_disk(error: OSError, job: Job) -> str:
    """What to do about an error of the file system."""
    what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "disk error"
    return f"{what} ({error}): what is written below {job.out} is kept; free some and run it again"


def note_fault(error: Exception, job: Job) -> str:
    """A fault of driv3r's own in a line; its traceback lies beside the log's record."""
    notes = job.failure_file.with_suffix(".traceback.txt")
    with contextlib.suppress(OSError):  # a full disk must not take the other logs with it
        notes.parent.mkdir(parents=True, exist_ok=True)
        notes.write_text(traceback.format_exc())
    return f"unexpected {type(error).__name__}: {error} (a fault of driv3r's: see {notes})"


def make_header(
    settings: Settings, provenance: Provenance, scene: Scene, work: WorkRig, system: System
) -> LogHeader:
    """What the log is, and all that decides its arrays."""
    return LogHeader(
        log_id=scene.id,
        dataset=settings.dataset,
        model=settings.model,
        rig=work.rig,
        full_cameras=scene.rig.cameras,
        crops=work.crops,
        time_us=scene.time_us,
        is_keyframe=scene.is_keyframe,
        input_hash=scene.input_hash,
        provenance=provenance,
        scale=scale_of(scene),
        scale_source=system.scale_source if scene.calibrated else ASSUMED + system.scale_source,
        ego_poses=settings.ego_poses,
        origin_world=scene.origin_world,
        generated=scene.generated,
    )


def fuse_log(
    scene: Scene,
    work: WorkRig,
    read_frame: ReadFrame,
    report: Callable[[int], None],
    threads: int = 1,
    source: FusionSource = "cameras",
    kept: TileCache | None = None,
) -> Reconstruction:
    """The 4D fusion of a log's written predictions; frames that are `kept` are not read again."""
    cameras = work.rig.cameras

    def read(index: int) -> FusedFrame:
        record, time_us = read_frame(index), int(scene.time_us[index])
        if kept is None or index not in kept:
            frame = scene.frames[index]
            given = keep_input(cameras, frame, prepare_images(frame, work), record, source)
        else:
            given = kept[index]
        images = [given.get(f"image/{camera.name}") for camera in cameras]
        sweep = None
        if "points_lidar" in given:
            placing = given["points_lidar"], given["world_T_lidar"]
            sweep = PlacedSweep(*placing, int(given["time_us"]))
        return FusedFrame.of_record(index, time_us, cameras, record, images, sweep)

    frames = FrameWindow(scene.time_us, read)
    return fuse(frames, FusionConfig(source=source), report, threads)


def keep_input(
    cameras: Sequence[Camera],
    frame: Frame,
    images: Images,
    record: FrameRecord,
    source: FusionSource,
) -> Arrays:
    """What fusion takes of a frame beside its record: working images, and LiDAR it is to fuse."""
    kept = {
        f"image/{camera.name}": image
        for camera, image in zip(cameras, images, strict=True)
        if image is not None
    }
    sweep = None if source == "cameras" else place_sweep(record, frame)
    return kept if sweep is None else kept | {k: np.asarray(v) for k, v in vars(sweep).items()}


def place_sweep(record: FrameRecord, frame: Frame) -> PlacedSweep | None:
    """A frame's sweep where the log's own path has the car; None where either is not known."""
    sweep = frame.sweep
    if sweep is None or not np.isfinite(record.world_T_ego).all():
        return None
    ego_T_lidar = invert(frame.world_T_ego) @ sweep.world_T_lidar
    points = clean_sweep(sweep.points_lidar)
    return PlacedSweep(points, record.world_T_ego @ ego_T_lidar, sweep.time_us)


@contextmanager
def _timed(seconds: dict[str, float], stage: str):
    since = time.monotonic()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - since


def _timed_each(seconds: dict[str, float], stage: str, items: Iterator[T]) -> Iterator[T]:
    """The items; the time until each comes is the stage's."""
    while True:
        with _timed(seconds, stage):
            item = next(items, None)
        if item is None:
            return
        yield item
