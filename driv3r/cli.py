"""The command line: the only place that prints and exits."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from driv3r import __version__, cli_training
from driv3r.errors import ConfigError, Driv3rError

app = typer.Typer(
    name="driv3r",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Camera logs of a driving car in, metric 4D reconstructions out.\n\n"
    "Start: driv3r world make; driv3r process --dataset nuscenes --split val",
)
world_app = typer.Typer(no_args_is_help=True, help="The generated driving world.")
app.add_typer(world_app, name="world")
models_app = typer.Typer(
    invoke_without_command=True, help="The systems that run here, and what they need."
)
app.add_typer(models_app, name="models")
app.command()(cli_training.train)
app.command()(cli_training.adapt)
screen, complaints = Console(), Console(stderr=True)
STOPPED = 130


class StageBars:
    """One progress bar a stage, summed over the logs that have reached it."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self.progress = Progress(*columns, console=screen)
        self.tasks: dict[str, object] = {}
        self.counts: dict[str, dict[str, tuple[int, int]]] = {}

    def __enter__(self) -> "StageBars":
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def update(self, log: str, stage: str, done: int, total: int) -> None:
        """Take one log's progress in a stage; the first one shows the bars."""
        self.progress.start()
        of_stage = self.counts.setdefault(stage, {})
        of_stage[log] = (done, total)
        if stage not in self.tasks:
            self.tasks[stage] = self.progress.add_task(stage)
        done, total = (sum(pair[i] for pair in of_stage.values()) for i in (0, 1))
        self.progress.update(self.tasks[stage], completed=done, total=total)  # type: ignore[arg-type]


def default_root(dataset: str) -> Path:
    """data/<dataset>; ConfigError that says how to get one where there is none."""
    root = Path("data") / dataset
    if not root.is_dir():
        hint = "`driv3r world make` generates an embedded world there, or " * (
            dataset == "nuscenes"
        )
        raise ConfigError(f"no dataset at {root}: {hint}give --root the dataset's folder")
    return root


@app.command()
def process(
    dataset: Annotated[str, typer.Option(help="Reader: nuscenes, ddad or pandaset.")],
    split: Annotated[str, typer.Option(help="A split of the dataset, or 'all'.")] = "val",
    root: Annotated[Path | None, typer.Option(help="Its folder. Default: data/<dataset>.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Default: out/<dataset>-<split>[-<model>].")
    ] = None,
    sweeps: Annotated[bool, typer.Option(help="All camera frames, not only keyframes.")] = False,
    split_file: Annotated[
        Path | None, typer.Option(help="The scene list of a DGP root that has several.")
    ] = None,
    follow_links: Annotated[
        bool, typer.Option(help="Read files that links in the root lead to outside of it.")
    ] = False,
    model: Annotated[str, typer.Option(help="A name of `driv3r models`.")] = "driv3r-s",
    weights: Annotated[Path | None, typer.Option(help="Default: the shipped ones.")] = None,
    second_weights: Annotated[
        Path | None, typer.Option(help="Of a second network (slam3r-i2p: slam3r-l2w's).")
    ] = None,
    aligner: Annotated[
        str, typer.Option(help="A published system's: own, or one that `models show` names.")
    ] = "own",
    flow: Annotated[
        str, typer.Option(help="What tells a published system what moves: dis or matcher (ours).")
    ] = "dis",
    ego_poses: Annotated[
        str, typer.Option(help="What fusion uses: predicted, given or odometry.")
    ] = "predicted",
    calibration: Annotated[
        str, typer.Option(help="given, or hidden from our network, which then answers without.")
    ] = "given",
    refine: Annotated[
        str,
        typer.Option(
            help="Hold depth and motion against tracked features: tracks, none, or own (ours yes, "
            "a published system no)."
        ),
    ] = "own",
    protocol: Annotated[str | None, typer.Option(help="Default: the dataset's own.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Logs at once, one process each.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads a worker.")] = 1,
    inline: Annotated[bool, typer.Option(help="In this process, without Ray.")] = False,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster.")] = None,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    replace: Annotated[bool, typer.Option(help="Do finished logs again.")] = False,
) -> None:
    """Reconstruct every log of a split, score it against LiDAR and write a report.

    A killed run continues with the same command; a finished one is not done again, and one that
    would be made otherwise is left as it is. Ends with 0, 1 where logs failed, 2 where the command
    can not be done, 130 when it was stopped.

    Example: driv3r process --dataset nuscenes --root /data/nuscenes --split mini_val
    """
    from driv3r.pipelines.jobs import report_folder
    from driv3r.pipelines.process import make_settings
    from driv3r.pipelines.process import process as run_process

    settings = make_settings(
        dataset=dataset,
        root=root or default_root(dataset),
        split=split,
        sweeps=sweeps,
        split_file=split_file,
        follow_links=follow_links,
        model=model,
        weights=weights,
        aligner=aligner,
        second_weights=second_weights,
        flow=flow,
        ego_poses=ego_poses,
        calibration=calibration,
        refine=refine,
        precision=precision,
        device=device,
        threads=threads,
        protocol=protocol or "own",
    )
    suffix = "" if model == "driv3r-s" else f"-{model}"
    folder = out or Path("out") / f"{dataset}-{split}{suffix}"
    with StageBars() as bars:
        run = run_process(settings, folder, workers, inline, address, replace, bars.update)
    show_run(run)
    screen.print(f"report: {report_folder(folder) / 'report.html'}", soft_wrap=True)
    stop_if_failed(run)


def stop_if_failed(run) -> None:
    """Name the logs that failed and end with status 1 where there are any."""
    failed = [log for log in run.logs if log.error is not None]
    for log in failed:
        complaints.print(f"{log.log_id} failed: {log.error}", markup=False, soft_wrap=True)
    if failed:
        raise SystemExit(1)


def show_run(run) -> None:
    """The overall depth and ego figures as a table."""
    shown = ("abs_rel", "sq_rel", "rmse", "delta1")
    table = Table(title=f"{run.title}: {len(run.logs)} logs")
    for column in ("subject", "scaling", *shown, "points"):
        table.add_column(column)
    rows: dict[tuple[str, str], dict] = {}
    for s in run.scores:
        if s.camera == "all" and s.metric in shown:
            rows.setdefault((s.subject, s.scaling), {})[s.metric] = s
    for (subject, scaling), scores in rows.items():
        values = [f"{scores[m].value:.3f}" if m in scores else "-" for m in shown]
        table.add_row(subject, scaling, *values, str(next(iter(scores.values())).n))
    if rows:
        screen.print(table)
    for s in run.scores:
        if s.metric in ("ate_rmse", "rpe_percent"):
            screen.print(f"{s.subject} {s.metric} ({s.scaling}): {s.value:.3f} {s.unit}")
    for line in warnings_of(run):
        screen.print(line, markup=False, soft_wrap=True)


def warnings_of(run) -> list[str]:
    """What a reader of the figures has to know: repairs, what could not be scored, what data."""
    done = [log for log in run.logs if log.state == "done"]
    lines = []
    repaired = [log for log in done if log.repairs]
    if repaired:
        count = sum(len(log.repairs) for log in repaired)
        first = repaired[0].repairs[0]
        lines.append(f"input repaired {count} times in {len(repaired)} logs, such as {first}")
    unscored = [log.log_id for log in done if all(s.protocol == "ego" for s in log.scores)]
    if unscored:
        lines.append(f"no depth was scored, for want of LiDAR sweeps, in {', '.join(unscored)}")
    if any(log.generated for log in done):
        lines.append("the data are generated: figures tell nothing of recorded streets")
    return lines


@app.command()
def score(
    path: Annotated[Path, typer.Argument(help="A log's .zarr, or a folder of them.")],
    dataset: Annotated[str, typer.Option(help="Reader: nuscenes, ddad or pandaset.")],
    root: Annotated[Path | None, typer.Option(help="The dataset's folder.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Default: the dataset's own.")] = None,
    split_file: Annotated[
        Path | None, typer.Option(help="The scene list of a DGP root that has several.")
    ] = None,
    follow_links: Annotated[
        bool, typer.Option(help="Read files that links in the root lead to outside of it.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write JSON.")] = None,
) -> None:
    """Score finished logs again, for example under another protocol. Stores are not changed."""
    from driv3r.pipelines.rescore import rescore
    from driv3r.pipelines.results import save_result

    with StageBars() as bars:
        place, rules = root or default_root(dataset), protocol or dataset
        run = rescore(path, dataset, place, rules, bars.update, follow_links, split_file)
    show_run(run)
    if json_file is not None:
        save_result(run, json_file)


@app.command()
def report(out: Annotated[Path, typer.Argument(help="The folder of a run.")]) -> None:
    """Write a run's report anew from the stores of its logs."""
    from driv3r.pipelines.process import report_again

    screen.print(f"report: {report_again(out)}", soft_wrap=True)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A log's .zarr, or a folder of them.")],
) -> None:
    """Check every file of finished logs against its digest, and the arrays against the schema."""
    from driv3r.pipelines.rescore import find_stores
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


@world_app.command("make")
def world_make(
    root: Annotated[Path, typer.Option(help="Folder to write.")] = Path("data/nuscenes"),
    recipe: Annotated[str, typer.Option(help="A name in configs/world, or a YAML file.")] = "demo",
    workers: Annotated[int, typer.Option(min=1, help="Rendering processes.")] = 2,
    replace: Annotated[
        bool, typer.Option(help="Delete another generated world that lies there.")
    ] = False,
) -> None:
    """Generate logs in the nuScenes v1.0 layout, unless the folder holds this very world."""
    from driv3r.pipelines.recipe import find_recipe, load_recipe
    from driv3r.world.marker import check_world, discard_world
    from driv3r.world.nuscenes_writer import WorldRecipe, write_world

    parsed = load_recipe(find_recipe(recipe, "world"), WorldRecipe)
    if replace:
        discard_world(root, parsed)
    if check_world(root, parsed):
        screen.print(f"{root} holds this world already", soft_wrap=True)
        return
    with StageBars() as bars:
        write_world(root, parsed, workers, lambda done, n: bars.update("", "render world", done, n))
    screen.print(f"world: {root}", soft_wrap=True)


@world_app.command("preview")
def world_preview(
    seed: Annotated[int, typer.Option(help="The world's seed.")] = 0,
    kind: Annotated[str | None, typer.Option(help="A kind of scene instead of the seed's.")] = None,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("world.png"),
    width: Annotated[int, typer.Option(min=64, help="Of one camera's image, pixels.")] = 392,
) -> None:
    """Draw a contact sheet: six cameras at four times, then depth, motion and LiDAR."""
    import cv2

    from driv3r.world.preview import draw_preview

    sheet = draw_preview(seed, (round(width * 4 / 7), width), kind=kind)
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), sheet[..., ::-1])
    screen.print(f"preview: {out}", soft_wrap=True)


@models_app.callback()
def models_list(context: typer.Context) -> None:
    """List the systems; `driv3r models show X` tells more of one."""
    if context.invoked_subcommand is not None:
        return
    from driv3r.network.models import MODELS

    table = Table("model", "parameters", "image", "scale", "licence of weights")
    for name, entry in MODELS.items():
        size = "x".join(str(n) for n in entry.size_hw)
        millions = f"{entry.count_parameters() / 1e6:.1f} M"
        table.add_row(name, millions, size, entry.scale, entry.weights_license)
    screen.print(table)


@models_app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="A name of `driv3r models`.")]) -> None:
    """Inputs, outputs, licences, and where the official checkpoint is."""
    from driv3r.network.models import choose_model

    entry = choose_model(name)
    millions = entry.count_parameters() / 1e6
    size = f"{millions:.1f} M parameters, {4 * millions / 1000:.2f} GB in fp32"
    facts = {
        "paper": entry.paper,
        "inputs": entry.inputs,
        "outputs": entry.outputs,
        "scale": entry.scale,
        "aligners": f"{', '.join(entry.aligners)} (the first is its own)",
        "image size": "{} x {} (height x width)".format(*entry.size_hw),
        "size": size,
        "checkpoint": entry.checkpoint,
        "licence of code": entry.code_license,
        "licence of weights": entry.weights_license,
        "network": f"{entry.network.__name__}({entry.config})",
    }
    for fact, value in facts.items():
        screen.print(f"{fact + ':':<20}{value}", markup=False, highlight=False, soft_wrap=True)


@models_app.command("check")
def models_check(
    name: Annotated[str, typer.Argument(help="A name of `driv3r models`.")],
    weights: Annotated[Path, typer.Option(help="A downloaded .safetensors or .pth file.")],
) -> None:
    """Say whether a checkpoint's names and shapes are the system's, before it is loaded."""
    from driv3r.network.models import choose_model
    from driv3r.network.official import check_official, read_official

    tensors, construction = read_official(weights)
    count = check_official(choose_model(name), tensors, str(weights))
    screen.print(
        f"{weights} fits {name}: {len(tensors)} tensors, {count:,} parameters", soft_wrap=True
    )
    if construction:
        screen.print(f"it was saved from: {construction}", markup=False, soft_wrap=True)


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
    except Driv3rError as error:
        complaints.print(f"{type(error).__name__}: {error}", markup=False, soft_wrap=True)
        sys.exit(2)
