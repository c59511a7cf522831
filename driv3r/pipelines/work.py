"""One log from images to a sealed store: the stages in order."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from driv3r.datasets import open_dataset
from driv3r.datasets.working_size import WorkRig, prepare_rig
from driv3r.errors import Driv3rError, StoreError
from driv3r.fusion import FusedFrame, FusionConfig, fuse
from driv3r.pipelines.jobs import Job, Settings, hash_code, hash_json, report_folder
from driv3r.pipelines.painter import Painter
from driv3r.pipelines.predict import predict_frames
from driv3r.pipelines.replay import Moment, fused_frame, replay
from driv3r.pipelines.results import LogResult
from driv3r.pipelines.score import LogScorer, Verdict
from driv3r.pipelines.systems import System, load_system
from driv3r.store.files import read_state
from driv3r.store.schema import LogHeader, header_hash
from driv3r.store.writer import LogWriter
from driv3r.types import Reconstruction, Repair, Scene

StageReport = Callable[[str, int, int], None]


class LogWorker:
    """Processes logs one after another; the network and the dataset are opened once."""

    def __init__(self, settings: Settings):
        self.settings = settings
        torch.set_num_threads(settings.threads)
        cv2.setNumThreads(settings.threads)

    @lru_cache(maxsize=1)  # noqa: B019 - one worker lives as long as its process
    def _load(self):
        settings = self.settings
        reader = open_dataset(settings.dataset, Path(settings.root), sweeps=settings.sweeps)
        return reader, load_system(settings)

    def run(self, job: Job, report: StageReport) -> LogResult:
        """The log's record; what goes wrong fails this log and no other."""
        try:
            # numpy's and scipy's BLAS split sums by thread: Ray sets theirs to 1, a shell does not
            with threadpool_limits(self.settings.threads, user_api="blas"):
                return self._run(job, report)
        except Driv3rError as error:
            return LogResult(job.scene_id, "failed", f"{type(error).__name__}: {error}")
        except Exception as error:  # a fault of ours must not take the other logs with it
            notes = report_folder(job.out_folder) / "logs" / f"{job.scene_id}.traceback.txt"
            notes.parent.mkdir(parents=True, exist_ok=True)
            notes.write_text(traceback.format_exc())
            text = f"unexpected {type(error).__name__}: {error} (a fault of driv3r's: see {notes})"
            return LogResult(job.scene_id, "failed", text)

    def _run(self, job: Job, report: StageReport) -> LogResult:
        settings, seconds = self.settings, {}
        with _timed(seconds, "read tables"):
            reader, system = self._load()
            scene = reader.read(job.scene_id)
            work = prepare_rig(scene, system.size_hw)
        header = make_header(job, scene, work, system)
        check_place(job, header)
        writer = LogWriter(job.staging, header)
        with _timed(seconds, "predict"):
            streamer = system.stream(work.rig, settings)
            stage = _stage(report, "predict")
            predict_frames(scene, work, writer, streamer, settings.ego_poses, system.tracks, stage)
        with _timed(seconds, "fuse and score"):
            scorer = LogScorer(settings.protocol, work.rig, settings.model, settings.ego_poses)
            painter = Painter(job, len(scene.frames))
            moments = replay(scene, work, writer.read_frame)
            count = len(scene.frames)
            stage = _stage(report, "fuse and score")
            reconstruction = digest(moments, scorer, painter, lambda done: stage(done, count))
        with _timed(seconds, "store"):
            verdict = scorer.finish()
            repairs = [*scene.repairs, *(r for of_frame in scorer.repairs for r in of_frame)]
            store_results(writer, repairs, reconstruction, verdict)
        return LogResult(
            log_id=job.scene_id,
            state="done",
            frames=count,
            seconds={name: round(value, 3) for name, value in seconds.items()},
            repairs=tuple(f"{r.where}: {r.reason}" for r in repairs),
            pictures=painter.pictures,
            static_voxels=len(reconstruction.static.index),
            moving_tracks=len(np.unique(reconstruction.moving.track_id)),
            moving_states=len(reconstruction.moving.track_id),
            store=str(job.final),
            **verdict.as_result(),
        )


def store_results(
    writer: LogWriter,
    repairs: Sequence[Repair],
    reconstruction: Reconstruction,
    verdict: Verdict,
) -> None:
    """Everything beside the frames, then the seal."""
    writer.write_repairs(repairs)
    writer.write_reconstruction(reconstruction)
    for part in verdict.parts:
        writer.write_scores(part.protocol, part.card, part.scores, part.per_view, part.lost)
    writer.seal()


def make_header(job: Job, scene: Scene, work: WorkRig, system: System) -> LogHeader:
    """What the log is, and the hashes of all that decides its arrays."""
    settings = job.settings
    rig = [[c.name, c.K.tolist(), c.ego_T_cam.tolist(), c.distortion] for c in scene.rig.cameras]
    times = scene.time_us.tolist()
    facts = [settings.dataset, settings.sweeps, scene.id, rig, times]
    choices = [
        settings.model,
        system.aligner,
        settings.flow,
        settings.ego_poses,
        settings.precision,
        settings.calibration,
        system.tracks,
    ]
    return LogHeader(
        log_id=scene.id,
        dataset=settings.dataset,
        model=settings.model,
        rig=work.rig,
        time_us=scene.time_us,
        is_keyframe=scene.is_keyframe,
        hashes={
            "input": hash_json(facts),
            "config": hash_json([*choices, settings.threads, settings.protocol]),
            "weights": system.weights_hash,
            "code": hash_code(),
        },
        scale="metric",
        scale_source=system.scale_source,
        ego_poses=settings.ego_poses,
    )


def check_place(job: Job, header: LogHeader) -> None:
    """Raise StoreError before any work where a finished log of another kind is in the way."""
    state = read_state(job.final)
    if state is not None and state[0] == "complete" and not job.replace:
        same = state[1] == header_hash(header)
        raise StoreError(
            f"{job.final} is finished"
            + (
                ", but its record for the report is gone"
                if same
                else " with other input, config, weights or code"
            )
            + ": give --replace to do it again, or name another --out"
        )


def digest(
    moments: Iterator[Moment], scorer: LogScorer, painter: Painter, report: Callable[[int], None]
) -> Reconstruction:
    """One pass over the written predictions: score, paint and fuse each."""

    def watched() -> Iterator[FusedFrame]:
        for moment in moments:
            scorer.add(moment)
            painter.add(moment, scorer)
            yield fused_frame(moment)
            report(moment.index + 1)

    return fuse(watched(), FusionConfig())


@contextmanager
def _timed(seconds: dict[str, float], stage: str):
    since = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - since


def _stage(report: StageReport, name: str):
    return lambda done, total: report(name, done, total)
