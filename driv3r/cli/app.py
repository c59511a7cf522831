"""The command line: the only place that prints and exits."""

import dataclasses
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from driv3r import __version__
from driv3r.cli import datasets, export, info, joint_map, models, training, view, world
from driv3r.cli.rig import app as rig_app
from driv3r.cli.screen import ProgressBar, complaints, screen, show_run, stop_if_failed
from driv3r.errors import ConfigError, Driv3rError
from driv3r.settings import Settings
from driv3r.types import CalibrationMode, EgoPoses, FlowName, FusionSource, Precision, Refine

app = typer.Typer(
    name="driv3r",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Camera logs of a driving car in, metric 4D reconstructions out.\n\n"
    "Start: driv3r world make; driv3r process --dataset nuscenes --split val",
)
SETTINGS = {field.name for field in dataclasses.fields(Settings)}
SplitFile = Annotated[
    Path | None, typer.Option(help="The scene list of a DGP root that has several.")
]
RigOption = Annotated[
    Path | None,
    typer.Option(
        help="rig.yaml of one's own images. Default: that beside them; a single camera needs none."
    ),
]
FollowLinks = Annotated[
    bool, typer.Option(help="Read files that links in the root lead to outside of it.")
]
STOPPED = 130


def default_root(dataset: str) -> Path:
    """data/<dataset>; ConfigError that says how to get one where there is none."""
    root = Path("data") / dataset
    if not root.is_dir():
        hint = "`driv3r world make` generates an embedded world there, or " * (
            dataset == "nuscenes"
        )
        raise ConfigError(f"no dataset at {root}: {hint}give --root the dataset's folder")
    return root


def choose_dataset(dataset: str | None, root: Path | None, images: Path | None) -> tuple[str, Path]:
    """The reader's name and the root of options that may be short; ConfigError if they disagree."""
    if images is not None and (dataset not in (None, "folder") or root is not None):
        raise ConfigError(
            f"--images {images} is short for --dataset folder --root {images}; leave --dataset and "
            "--root out, or --images"
        )
    if images is not None:
        return "folder", images
    if dataset is None:
        raise ConfigError("Missing option: give --dataset NAME, or --images DIR --rig FILE")
    return dataset, root or default_root(dataset)


def take_config(context: typer.Context, path: Path | None) -> Path | None:
    """Let a YAML file tell the options that the command line does not."""
    if path is not None:
        from driv3r.config import read_yaml

        given = read_yaml(path)
        known = [str(each.name) for each in context.command.params if each.name != "config"]
        strange = [key for key in given if key not in known] if isinstance(given, dict) else [given]
        if strange:
            raise ConfigError(
                f"{path}: {strange[0]!r} is no option; expected a mapping of: {', '.join(known)}"
            )
        context.default_map = given
    return path


def start_logging(verbose: bool, file: Path | None) -> None:
    """Configure logging to stderr and to a file."""
    logger = logging.getLogger("driv3r")
    logger.setLevel(logging.INFO)
    handlers: list[logging.Handler] = [logging.StreamHandler()] if verbose else []
    if file is not None:
        handlers.append(logging.FileHandler(file))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)


@app.command()
def process(
    dataset: Annotated[str | None, typer.Option(help="A name of `driv3r datasets`.")] = None,
    split: Annotated[
        str | None, typer.Option(help="A split, or 'all'. Default: val; of a folder, all.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Images of one's own: short for --dataset folder --root.")
    ] = None,
    rig: RigOption = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Its folder; of waymo and argoverse2 also gs://... or s3://.... "
            "Default: data/<dataset>."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Default: out/<dataset>-<split>[-<model>].")
    ] = None,
    scene: Annotated[
        list[str] | None, typer.Option(help="Only this log of the split; may be given again.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many logs.")] = None,
    sweeps: Annotated[
        bool, typer.Option(help="All camera frames, not only keyframes.")
    ] = Settings.sweeps,
    split_file: SplitFile = None,
    follow_links: FollowLinks = Settings.follow_links,
    model: Annotated[str, typer.Option(help="A name of `driv3r models`.")] = Settings.model,
    weights: Annotated[Path | None, typer.Option(help="Default: the shipped ones.")] = None,
    second_weights: Annotated[
        Path | None, typer.Option(help="Of a second network (slam3r-i2p: slam3r-l2w's).")
    ] = None,
    aligner: Annotated[
        str, typer.Option(help="A published system's: own, or one that `models show` names.")
    ] = Settings.aligner,
    flow: Annotated[
        FlowName, typer.Option(help="Optical flow of published systems (matcher: ours).")
    ] = Settings.flow,
    ego_poses: Annotated[EgoPoses, typer.Option(help="What fusion uses.")] = Settings.ego_poses,
    calibration: Annotated[
        CalibrationMode, typer.Option(help="hidden: the network gets no calibration.")
    ] = Settings.calibration,
    refine: Annotated[
        Refine,
        typer.Option(help="Correct depth and motion by tracked features (own: for ours only)."),
    ] = Settings.refine,
    fuse: Annotated[
        FusionSource,
        typer.Option(help="What the static map is of; with LiDAR it is not scored against LiDAR."),
    ] = Settings.fuse,
    protocol: Annotated[
        str, typer.Option(help="Of depth figures; own: the dataset's.")
    ] = Settings.protocol,
    workers: Annotated[int, typer.Option(min=1, help="Logs at once, one process each.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads a worker.")] = Settings.threads,
    inline: Annotated[bool, typer.Option(help="In this process, without Ray.")] = False,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster.")] = None,
    precision: Annotated[Precision, typer.Option(help="Of the network.")] = Settings.precision,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = Settings.device,
    replace: Annotated[bool, typer.Option(help="Do finished logs again.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell of each log.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Errors and the report only.")
    ] = False,
    log_file: Annotated[Path | None, typer.Option(help="Also write the log of -v here.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            is_eager=True,
            callback=take_config,
            help="YAML of these options; the command line goes first.",
        ),
    ] = None,
) -> None:
    """Reconstruct every log of a split, score it against LiDAR and write a report.

    A killed run continues with the same command; a finished one is not done again, and one that
    would be made otherwise is left as it is. Ends with 0, 1 where logs failed, 2 where the command
    can not be done, 130 when it was stopped.

    Example: driv3r process --dataset nuscenes --root /data/nuscenes --split mini_val
    """
    dataset, root = choose_dataset(dataset, root, images)
    split = split or ("all" if dataset == "folder" else Settings.split)
    given = {name: value for name, value in locals().items() if name in SETTINGS}

    from driv3r.api import default_out, make_settings, process_settings
    from driv3r.pipelines.job import report_folder

    settings = make_settings(**given)
    folder = out or default_out(settings)
    start_logging(verbose, log_file)
    with ProgressBar(f"{settings.dataset} {split}", 2, quiet) as bar:
        run = process_settings(
            settings, folder, workers, inline, address, replace, bar.update, scene, limit
        )
    if not quiet:
        show_run(run)
    screen.print(f"report: {report_folder(folder) / 'report.html'}", soft_wrap=True)
    stop_if_failed(run)


# In the order in which they are needed, `process` before them.
for command in (
    info.info,
    view.view,
    export.export,
    joint_map.fuse,
    training.adapt,
    training.train,
):
    app.command()(command)
app.add_typer(datasets.app, name="datasets")
app.add_typer(rig_app, name="rig")
app.add_typer(models.app, name="models")
app.add_typer(world.app, name="world")


@app.command()
def score(
    path: Annotated[Path, typer.Argument(help="A log's .zarr, or a folder of them.")],
    dataset: Annotated[str, typer.Option(help="A name of `driv3r datasets`.")],
    root: Annotated[Path | None, typer.Option(help="The dataset's folder.")] = None,
    rig: RigOption = None,
    protocol: Annotated[str | None, typer.Option(help="Default: the dataset's own.")] = None,
    split_file: SplitFile = None,
    follow_links: FollowLinks = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write JSON.")] = None,
) -> None:
    """Score finished logs again, for example under another protocol. Stores are not changed."""
    from driv3r.evaluation.records import save_result
    from driv3r.evaluation.rescore import rescore

    with ProgressBar("score") as bar:
        place, rules = root or default_root(dataset), protocol or dataset
        run = rescore(path, dataset, place, rules, bar.update, follow_links, split_file, rig)
    show_run(run)
    if json_file is not None:
        save_result(run, json_file)


@app.command()
def report(out: Annotated[Path, typer.Argument(help="The folder of a run.")]) -> None:
    """Regenerate a run's report from the stores of its logs."""
    from driv3r.pipelines.process import report_again

    screen.print(f"report: {report_again(out)}", soft_wrap=True)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A log's .zarr, or a folder of them.")],
) -> None:
    """Check every file of finished logs against its digest, and the arrays against the schema."""
    from driv3r.evaluation.rescore import find_stores
    from driv3r.store.verify import verify as verify_store

    damaged = 0
    for store in find_stores(path):
        verdict = verify_store(store)
        damaged += not verdict.ok
        screen.print(f"{store}: {'ok' if verdict.ok else 'DAMAGED'}", soft_wrap=True)
        for problem in verdict.problems:
            screen.print(f"  {problem}", markup=False, soft_wrap=True)
    if damaged:
        raise SystemExit(1)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Handle --version."""
    if show:
        print(f"driv3r {__version__}")
        raise SystemExit(0)


def main() -> None:
    """Run the command line; our own errors end it with one line and status 2."""
    try:
        app()
    except SystemExit as end:
        if end.code == STOPPED:  # typer ends a Ctrl-C so, without a word
            complaints.print("stopped: what is finished is kept, the same command continues")
        raise
    except ModuleNotFoundError as error:
        complaints.print(
            f"{error}: this command needs more than what opens logs; pip install 'driv3r[all]'",
            markup=False,
            soft_wrap=True,
        )
        sys.exit(2)
    except (Driv3rError, OSError) as error:  # a path of 300 letters, which no file can have
        complaints.print(f"{type(error).__name__}: {error}", markup=False, soft_wrap=True)
        sys.exit(2)
