"""Write the model card of weights from what training recorded and what runs reported.

python tools/make_card.py driv3r/weights/driv3r-s.safetensors out/*/report/report.json
"""

import argparse
import json
from pathlib import Path

from matplotlib import pyplot

from driv3r.models.checkpoints import load_weights
from driv3r.simulator.export.clips import FIRST_TRAIN_SEED
from driv3r.training.lineage import as_ranges

SHOWN = ("abs_rel", "sq_rel", "rmse", "delta1")
INTRO = """\
Metric depth along the rays of a calibrated surround rig, its uncertainty, motion and ego motion,
frame by frame with a memory of the last four frames. Trained on generated worlds
(`driv3r/simulator`) and on nothing else. Two parts are not trained here and have seen photographs:
XFeat's features (Potje et al., CVPR 2024, trained by their authors on MegaDepth and COCO), by which
images are matched, and EfficientNet-Lite0's up to stride 16 (Tan & Le, ICML 2019, trained by its
authors on ImageNet), which tell what is seen. No image of a driving dataset was seen in training.

- input: up to any number of calibrated cameras, resized to 256 x 448; a camera may be missing
- output: depth (m), Laplace scale of log depth, probability of motion, ego motion
- code and weights: Apache-2.0, XFeat's and EfficientNet's too (XFEAT-LICENCE.txt,
  EFFICIENTNET-LICENCE.txt)
- figures of logs are those of `driv3r process` as it comes, where tracked features correct depth
  and ego motion (docs/decisions/2026-11-26-second-look.md); `--refine none` leaves that out
"""


def describe_training(card: dict, device: str) -> list[str]:
    """Steps, seconds, seeds and losses."""
    recipe, history = card["recipe"], card["history"]
    ranges = as_ranges(card.get("train_seeds")) or []
    seeds = ", ".join(f"{first} to {last}" for first, last in ranges)
    lines = [
        "## Training",
        "",
        f"- {card['parameters'] / 1e6:.2f} M parameters, {card['steps']} steps, "
        f"{card['seconds']} s on {device}, bf16 autocast where it is faster",
        f"- worlds of seeds {seeds}; evaluated worlds have seeds below {FIRST_TRAIN_SEED}",
        *(f"- began with: {json.dumps(each)}" for each in card.get("ancestry", ())),
        f"- {card['note']}" if "note" in card else "- one run, one recipe",
        f"- recipe: `{json.dumps(recipe)}`",
        "",
        "| step | seconds | total loss | held-out Abs Rel | motion IoU | velocity error m/s |",
        "|---|---|---|---|---|---|",
    ]
    for row in history:
        if "val_abs_rel" in row or row is history[-1]:
            cells = ("step", "seconds", "total", "val_abs_rel", "val_motion_iou")
            values = [str(row.get(c, "-")) for c in (*cells, "val_velocity_mps")]
            lines.append(f"| {' | '.join(values)} |")
    return lines


def draw_curves(history: list[dict], path: Path) -> None:
    """Training loss, and held-out figures where they were measured, over the steps."""
    checks = [row for row in history if "val_abs_rel" in row]
    figure, panels = pyplot.subplots(1, 3, figsize=(10, 2.6), layout="constrained")
    steps = [row["step"] for row in history]
    panels[0].plot(steps, [row["total"] for row in history])
    panels[0].set_title("training loss")
    for panel, key, title in (
        (panels[1], "val_abs_rel", "held-out Abs Rel"),
        (panels[2], "val_velocity_mps", "held-out velocity error, m/s"),
    ):
        panel.plot([row["step"] for row in checks], [row[key] for row in checks], marker="o")
        panel.set_title(title)
    for panel in panels:
        panel.set_xlabel("step")
        panel.set_ylim(top=max(line.get_ydata().max() for line in panel.lines) * 1.1)
        panel.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def describe_run(run: dict) -> list[str]:
    """The depth and ego figures of one report."""
    lines = [f"## {run['title']}", "", f"root `{Path(run['settings']['root']).name}`", ""]
    lines += [f"| subject | scaling | {' | '.join(SHOWN)} | points |", "|---" * 7 + "|"]
    rows: dict[tuple[str, str], dict] = {}
    for s in run["scores"]:
        if s["camera"] == "all" and s["metric"] in SHOWN:
            rows.setdefault((s["subject"], s["scaling"]), {})[s["metric"]] = s
    for (subject, scaling), scores in rows.items():
        values = " | ".join(f"{scores[m]['value']:.3f}" for m in SHOWN)
        lines.append(f"| {subject} | {scaling} | {values} | {scores['abs_rel']['n']} |")
    ego = [s for s in run["scores"] if s["protocol"] == "ego" and s["metric"] != "step"]
    lines += ["", "| ego | alignment | metric | value | unit |", "|---" * 5 + "|"]
    for s in ego:
        lines.append(
            f"| {s['subject']} | {s['scaling']} | {s['metric']} | {s['value']:.3f} | {s['unit']} |"
        )
    return lines


def main() -> None:
    """Write the card beside the weights."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("reports", type=Path, nargs="*")
    parser.add_argument("--note", help="What the recipe does not tell.")
    parser.add_argument("--trained-on", default="2 CPU cores", help="What training ran on.")
    options = parser.parse_args()
    _, card = load_weights(options.weights)
    card |= {"note": options.note} if options.note else {}
    curves = Path("docs") / f"{options.weights.stem}-training.svg"
    draw_curves(card["history"], curves)
    lines = [f"# {options.weights.stem}", "", INTRO]
    lines += [*describe_training(card, options.trained_on), ""]
    lines += [f"![Learning curves](../../{curves})", ""]
    for path in options.reports:
        lines += [*describe_run(json.loads(path.read_text())), ""]
    target = options.weights.with_suffix(".md")
    target.write_text("\n".join(lines))
    print(target)


if __name__ == "__main__":
    main()
