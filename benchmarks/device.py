"""Every system's forward pass at full size on a device: is it right there, how fast, how much room.

    python benchmarks/device.py [--device cuda] [--seconds 100] [--out device.json]
    python benchmarks/device.py --tiny --device cpu    # a rehearsal of every part

First each system at a small size in fp32 on the device against the CPU: the largest difference of
an answer over its largest value. Then at full size, weights drawn at random on the device: seconds
(medians, wall clock), images a second, peak memory (of the device's allocator; on a CPU that of the
process so far). Ours streams six cameras, upload and download of each surround frame counted in.
fp32 is without TF32; bf16 is autocast, where the rest goes by torch's own settings (TF32 in cuDNN).
What does not fit into --seconds is left out; `--only vggt,dust3r` measures these alone.
"""

import argparse
import dataclasses
import gc
import itertools
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from forward import shrink
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.models.driv3r.network import Driv3r, Driv3rConfig
from driv3r.models.driv3r.streaming import Precision, Streamer, StreamFrame
from driv3r.models.published.geometric_priors import GeometricPrior
from driv3r.models.published.mvdust3r import MvDust3r
from driv3r.models.published.pair_networks import PairNet
from driv3r.models.published.slam3r import ImagesToPoints, LocalToWorld
from driv3r.models.published.vggt import Vggt, VggtConfig
from driv3r.models.published.vggt_point_tracker import TrackerConfig
from driv3r.models.registry import MODELS, get_model
from driv3r.simulator.scene.camera_rig import make_rig
from driv3r.types import Prediction

TOLERANCE = 1e-3  # of an answer's largest value
PRECISIONS: tuple[Precision, ...] = ("bf16", "fp32")
OURS = ("driv3r-s", "driv3r-b", "driv3r-l")
CAMERAS, OUR_SIZE_HW, TINY_HW = 6, (256, 448), (64, 112)
FRAMES = 5  # of a sequence, for those with a memory; also the most images of a rehearsal
MANY = 4  # references of MV-DUSt3R+
WARM, STEPS = 9, 30  # of ours: surround frames until its memory is full, and those timed
PATIENCE_S = 8.0  # after which a case is not repeated again

Row = dict[str, Any]


def run_pair(network: nn.Module, images: Tensor) -> Any:
    """Two images, with the pointmaps, rays, depths and pose that a network asks for made up."""
    assert isinstance(network, PairNet)
    first, second = images[:1], images[1:2]
    priors = GeometricPrior()
    if network.prior is not None:
        priors = GeometricPrior(points=(first.movedim(1, -1), second.movedim(1, -1)))
    if network.prior_embedding is not None:
        first_T_second = torch.eye(4, device=images.device)[None] + 0.1
        rays = F.normalize(first, dim=1), F.normalize(second, dim=1)
        priors = GeometricPrior(rays, (first[:, 0] + 2, second[:, 0] + 2), first_T_second)
    return network(first, second, priors)


def run_window(network: nn.Module, images: Tensor) -> Any:
    """A window of SLAM3R whose middle image is the reference."""
    assert isinstance(network, ImagesToPoints)
    return network(images[None], len(images) // 2)


def run_scene(network: nn.Module, images: Tensor) -> Any:
    """SLAM3R's second network: all but the last image are of the scene; tokens are made up."""
    assert isinstance(network, LocalToWorld)
    tokens = F.pixel_unshuffle(images, network.config.patch).flatten(2).transpose(1, 2)
    tokens = F.pad(tokens, (0, network.config.width - tokens.shape[-1]))
    return network(tokens[None], images.movedim(1, -1)[None], range(len(images) - 1))


def run_many(network: nn.Module, images: Tensor) -> Any:
    """MV-DUSt3R's views at once; several of them are references where the network can."""
    assert isinstance(network, MvDust3r)
    return network(images[None], MANY if network.config.across else 1)


def run_memory(network: nn.Module, images: Tensor) -> Any:
    """Sequences of images, one image of each at a time."""
    return network(images.unflatten(0, (-1, FRAMES)))


def run_vggt(network: nn.Module, images: Tensor) -> Any:
    """Cameras, depth and points of all views."""
    return network((images[None] + 1) / 2)


def run_backbone(network: nn.Module, images: Tensor) -> Any:
    """Encoder and aggregator of VGGT, which its authors' table of runtimes is of."""
    assert isinstance(network, Vggt)
    return network.see((images[None] + 1) / 2)


def run_tracks(network: nn.Module, images: Tensor) -> Any:
    """All of VGGT, tracks of a few places too."""
    queries_px = torch.tensor([[[9.0, 7.0], [30.5, 21.25], [60.0, 40.0]]], device=images.device)
    return network((images[None] + 1) / 2, queries_px)


@dataclass(frozen=True)
class Case:
    """A system, what it is given, and how it is called with these images (in -1..1)."""

    model: str
    images: int
    call: Callable[[nn.Module, Tensor], Any]
    size_hw: tuple[int, int]
    precisions: tuple[Precision, ...] = PRECISIONS
    note: str = ""

    def shrink(self) -> "Case":
        """The rehearsal's size."""
        size_hw = (140, 154) if self.model == "vggt" else TINY_HW
        return replace(self, images=min(self.images, FRAMES), size_hw=size_hw)

    def build(self, device: torch.device, tiny: bool) -> nn.Module:
        """The network with random weights, drawn on the device."""
        entry = MODELS[self.model]
        config = shrink(entry.config) if tiny else entry.config
        if tiny and isinstance(config, VggtConfig):  # untrained, each step of it magnifies errors
            config = replace(config, tracker=TrackerConfig(steps=1))
        with torch.device(device):
            return entry.network(config).eval()

    def draw(self, device: torch.device) -> Tensor:
        """Noise images."""
        drawn = torch.rand(self.images, 3, *self.size_hw, generator=torch.manual_seed(0))
        return (2 * drawn - 1).to(device)


VGGT_HW, PAIR_HW, SQUARE = (336, 518), (384, 512), (224, 224)
# In order of what is wanted most; of VGGT as its authors' table, 3.12 s for 100 on an H100.
CASES = (
    Case("vggt", 100, run_backbone, VGGT_HW, ("bf16",), ", backbone"),
    Case("vggt", 10, run_backbone, VGGT_HW, ("bf16",), ", backbone"),
    Case("vggt", 10, run_vggt, VGGT_HW),
    Case("vggt", 100, run_vggt, VGGT_HW, ("bf16",)),
    Case("dust3r", 2, run_pair, PAIR_HW),
    Case("mast3r", 2, run_pair, PAIR_HW),
    Case("slam3r-i2p", 11, run_window, SQUARE),
    Case("slam3r-l2w", 11, run_scene, SQUARE),
    Case("mvdust3r", 8, run_many, SQUARE),
    Case("mvdust3r-plus", 8, run_many, SQUARE, note=", 4 references"),
    Case("spann3r", FRAMES, run_memory, SQUARE),
    Case("driv3r", 12 * FRAMES, run_memory, SQUARE, note=", 12 sequences"),
    Case("align3r", 2, run_pair, (288, 512)),
    Case("pow3r", 2, run_pair, PAIR_HW),
    Case("monst3r", 2, run_pair, PAIR_HW),
    Case("dust3r-224", 2, run_pair, SQUARE),
)


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """fp32 is exact inside; torch's settings are put back after it."""
    backends = torch.backends
    before = (backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())
    if precision == "fp32":
        backends.cudnn.allow_tf32 = False
        backends.cuda.matmul.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad():
            yield
    finally:
        backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


def measure(call: Callable[[], Any], device: torch.device, warm: int, repeats: int) -> Row:
    """Median seconds of a call, and peak memory."""
    on_card = device.type == "cuda"
    seconds: list[float] = []
    while len(seconds) < warm + repeats and sum(seconds[warm:]) < PATIENCE_S:
        if on_card and len(seconds) == warm:
            torch.cuda.reset_peak_memory_stats(device)
        since = time.perf_counter()
        call()
        if on_card:
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - since)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if on_card:
        peak = torch.cuda.max_memory_allocated(device) / 2**30
    timed = seconds[warm:]
    return {"seconds": statistics.median(timed), "peak_gib": peak, "repeats": len(timed)}


def time_case(
    case: Case, build: Callable[[], nn.Module], precision: Precision, device: torch.device
) -> Row:
    """A case's forward pass; each call has an autocast of its own, as calls have in use."""
    network, images = build(), case.draw(device)

    def call() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            case.call(network, images)

    with arithmetic(precision):
        row = measure(call, device, 1, 3)
    return row | {"images_per_s": case.images / row["seconds"]}


def make_frames(size_hw: tuple[int, int], count: int) -> list[StreamFrame]:
    """Surround frames of noise; the first begins a log."""
    rng = np.random.default_rng(0)
    shape = (count, CAMERAS, *size_hw, 3)
    stacks = rng.integers(0, 255, shape, dtype=np.uint8)
    return [StreamFrame(list(images), 0.5 * (i > 0)) for i, images in enumerate(stacks)]


def configure_ours(name: str, tiny: bool) -> Driv3rConfig:
    """One of our networks at the measured size; rehearsals are of the smallest."""
    config = MODELS["driv3r-s" if tiny else name].config
    assert isinstance(config, Driv3rConfig)
    return replace(config, size_hw=TINY_HW if tiny else OUR_SIZE_HW)


def time_ours(name: str, precision: Precision, device: torch.device, tiny: bool) -> Row:
    """A surround frame of six cameras through the Streamer."""
    torch.manual_seed(0)
    config = configure_ours(name, tiny)
    streamer = Streamer(Driv3r(config), make_rig(config.size_hw), str(device), precision)
    first, *others = make_frames(config.size_hw, 5)
    turns = itertools.cycle(others)
    warm, steps = (1, 2) if tiny else (WARM, STEPS)
    with arithmetic(precision):
        streamer.step(first)
        row = measure(lambda: streamer.step(next(turns)), device, warm, steps)
    return row | {"images_per_s": CAMERAS / row["seconds"]}


def name_tensors(answer: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in an answer, with its place in it."""
    if isinstance(answer, Tensor):
        yield name, answer
    elif isinstance(answer, np.ndarray):
        yield name, torch.from_numpy(answer)
    elif dataclasses.is_dataclass(answer):
        for part in dataclasses.fields(answer):
            yield from name_tensors(getattr(answer, part.name), f"{name}.{part.name}".lstrip("."))
    elif isinstance(answer, list | tuple):
        for i, part in enumerate(answer):
            yield from name_tensors(part, f"{name}[{i}]")


def stream(network: Driv3r, device: torch.device) -> list[Prediction]:
    """Our network's answers for three frames in fp32."""
    streamer = Streamer(network, make_rig(TINY_HW), str(device), "fp32")
    return [streamer.step(frame) for frame in make_frames(TINY_HW, 3)]


def wake(network: nn.Module) -> None:
    """Give numbers to layers that begin at zero, so that what they do is compared as well."""
    for parameter in network.parameters():
        if not parameter.any():
            parameter.normal_(std=0.02)


def compare(model: str, device: torch.device) -> Row:
    """A small network on the device against the CPU: the answer that differs most."""
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    with arithmetic("fp32"):
        if model in OURS:
            network = Driv3r(configure_ours(model, tiny=True)).eval()
            wake(network)
            both = [stream(network, where) for where in (cpu, device)]
        else:
            case = next(c for c in CASES if c.model == model).shrink()
            call = run_tracks if model == "vggt" else case.call
            network, images = case.build(cpu, tiny=True), case.draw(cpu)
            wake(network)
            both = [call(network.to(where), images.to(where)) for where in (cpu, device)]
        expected, found = (dict(name_tensors(answer)) for answer in both)
        errors = {
            name: float((found[name].cpu() - x).abs().max() / x.abs().max().clamp(min=1e-30))
            for name, x in expected.items()
        }
    worst = max(errors, key=lambda name: float(np.nan_to_num(errors[name], nan=np.inf)))
    return {"worst": worst, "error": errors[worst], "passes": errors[worst] <= TOLERANCE}


@dataclass(eq=False)
class Session:
    """What was found so far; it is written after every part, should the machine be taken away."""

    device: torch.device
    tiny: bool
    ends: float
    out: Path | None
    found: dict[str, Any] = field(default_factory=dict)

    def attempt(self, part: str, names: Row, job: Callable[[], Row]) -> None:
        """One part; where it fails or time is up, a line says so."""
        row, title = dict(names), " ".join(names.values())
        try:
            if time.perf_counter() > self.ends:
                raise TimeoutError("left out, --seconds are over")
            row |= job()
            print(f"{part} {title}: done", flush=True)
        except Exception as error:
            first = (str(error).splitlines() or [""])[0][:200]
            row["fails"] = f"{type(error).__name__}: {first}"
            print(f"{part} {title}: {row['fails']}", flush=True)
        self.found.setdefault(part, []).append(row)
        self.tidy()
        if self.out is not None:
            self.out.write_text(json.dumps(self.found, indent=1))

    def tidy(self) -> None:
        """Give the card's memory back."""
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()

    def time_ours(self, name: str) -> None:
        """The rows of one of ours."""
        rows, columns = TINY_HW if self.tiny else OUR_SIZE_HW
        given = f"{CAMERAS} of {rows} x {columns}, streaming"
        for precision in PRECISIONS:
            names = {"system": name, "given": given, "precision": precision}
            job = partial(time_ours, name, precision, self.device, self.tiny)
            self.attempt("speed", names, job)

    def time_case(self, case: Case) -> None:
        """A published system's rows, of one network."""
        torch.manual_seed(0)
        build = lru_cache(partial(case.build, self.device, self.tiny))
        given = f"{case.images} of {case.size_hw[0]} x {case.size_hw[1]}{case.note}"
        for precision in case.precisions:
            names = {"system": case.model, "given": given, "precision": precision}
            self.attempt("speed", names, partial(time_case, case, build, precision, self.device))
        build.cache_clear()
        self.tidy()

    def show(self) -> None:
        """Both tables."""
        print("\n| system | on the device against the CPU | error |\n|---|---|---|")
        for row in self.found.get("parity", []):
            verdict = "passes" if row.get("passes") else row.get("fails", "fails")
            print(f"| {row['system']} | {verdict}, worst {row.get('worst')} |", end=" ")
            print(f"{row.get('error', float('nan')):.1e} |")
        print("\n| system | images | precision | seconds | calls/s | images/s | peak GiB |")
        print("|---|---|---|---|---|---|---|")
        for row in self.found.get("speed", []):
            names = f"| {row['system']} | {row['given']} | {row['precision']} |"
            if "fails" in row:
                print(names, row["fails"], "| - | - | - |")
                continue
            print(f"{names} {row['seconds']:.4f} | {1 / row['seconds']:.1f} |", end=" ")
            print(f"{row['images_per_s']:.1f} | {row['peak_gib']:.2f} |")


def main(arguments: list[str] | None = None) -> None:
    """Measure in order of what is wanted most, and print tables last."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=100.0, help="begin nothing after these")
    parser.add_argument("--only", default=",".join(MODELS), help="systems")
    parser.add_argument("--tiny", action="store_true", help="all at a small size")
    parser.add_argument("--out", type=Path, help="also write JSON")
    options = parser.parse_args(arguments)
    device, since = torch.device(options.device), time.perf_counter()
    session = Session(device, options.tiny, since + options.seconds, options.out)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    session.found |= {"device": name, "torch": torch.__version__}
    wanted = [name for name in options.only.split(",") if get_model(name)]
    for model in (m for m in MODELS if m in wanted and m not in OURS[1:]):
        session.attempt("parity", {"system": model}, partial(compare, model, device))
    for ours in (m for m in OURS[:1] if m in wanted):
        session.time_ours(ours)
    for case in (c for c in CASES if c.model in wanted):
        session.time_case(case.shrink() if options.tiny else case)
    for ours in (m for m in OURS[1:] if m in wanted):
        session.time_ours(ours)
    session.show()
    print(f"\n{name}, torch {torch.__version__}, {time.perf_counter() - since:.0f} s")


if __name__ == "__main__":
    main()
