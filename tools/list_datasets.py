"""Write docs/datasets/index.md from the readers' cards and the depth protocols.

python tools/list_datasets.py
"""

import sys
from pathlib import Path

TOP = Path(__file__).parents[1]
PAGE = TOP / "docs" / "datasets" / "index.md"
INTRO = """\
# Datasets

This page is made from the readers' cards by `python tools/list_datasets.py`; `driv3r datasets`
prints the same, with the readers of installed packages. Another dataset: [how to add
one](../how-to/dataset.md). Licences are the datasets' own, and none comes with driv3r.

```
driv3r datasets                                           # what can be read
driv3r datasets show nuscenes                             # how to get it, how its folder looks
driv3r datasets check nuscenes --root /data/nuscenes      # what is there, and what looks wrong
driv3r datasets check nuscenes --root /data/nuscenes --quick --split val --json check.json
```

`check` reads each scene's tables, counts images, sweeps and boxes, opens the files (with
`--quick` those of first and last frames) and counts repairs by kind. Of up to 10 frames a scene,
a metre or more apart, it compares the sensors: the road in LiDAR (a plane by RANSAC within 10 m)
with `ground_z_m`, the ends of near things in LiDAR with edges of the images (against places 16 to
32 pixels beside them), boxes with the points in them. It ends with 0 where all scenes are usable,
1 where some are not, 2 where none is.

"""
STORES = """\
## Object stores

`waymo` and `argoverse2` take a URL as `--root`: `gs://`, `s3://`, or any other that
[fsspec](https://filesystem-spec.readthedocs.io) has a package for (`pip install 'driv3r[remote]'`
brings those two). The store is listed once; each log's files are fetched whole before it is read,
into `$DRIV3R_CACHE` (`~/.cache/driv3r` unless set), where at most `$DRIV3R_CACHE_GB` (100) lie:
of what nobody uses, the log that was read least lately goes first. Workers of a machine share it.
Credentials are those of the clouds' own tools; `FSSPEC_S3_ANON=true` reads public S3 buckets
without. Other datasets' roots can be copied, or mounted (rclone, gcsfuse, mount-s3).

"""
PROTOCOLS_INTRO = """\
## Depth protocols

Which LiDAR points are the truth that depth is scored against, by `--protocol`: a dataset's own
unless told. Each also exists as `<name>-unfiltered`, with hidden points left in as published
figures have it.

"""


def make_page() -> str:
    """The page: a table of the readers, the layouts of their roots, and the protocols."""
    sys.path.insert(0, str(TOP))
    try:
        from driv3r.datasets import READERS
        from driv3r.datasets.cards import card_of
        from driv3r.evaluation.metrics.protocol import PROTOCOLS
    finally:
        sys.path.remove(str(TOP))
    cards = {name: card_of(make) for name, make in READERS.items()}
    given = {name: card for name, card in cards.items() if card is not None}
    lines = [INTRO + "| name | dataset | sensors | splits | licence | how to get it | protocol |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, card in given.items():
        splits = ", ".join(f"`{split}`" for split in card.splits)
        protocol = f"`{name}`" if name in PROTOCOLS else "none: name another's"
        cells = (f"`{name}`", card.title, card.sensors, splits, card.licence, card.source, protocol)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    lines += ["", "## Their folders", ""]
    for name, card in given.items():
        extra = f"Needs `pip install 'driv3r[{card.extra}]'`. " if card.extra else ""
        lines += [f"### {name}", "", f"{extra}The ego origin: {card.ground}.", ""]
        lines += ["```", card.layout, "```", ""]
    lines.append(STORES + PROTOCOLS_INTRO + "| protocol | range | crop | frames | hidden points |")
    lines += ["|---|---|---|---|---|"]
    for name, rules in PROTOCOLS.items():
        if name.endswith("-unfiltered"):
            continue
        frames = "keyframes" if rules.keyframes_only else "all"
        crop = "Garg" if rules.crop == "garg" else "none"
        hidden = "dropped" if rules.occlusion_filter else "left in"
        metres = f"{rules.min_m:g} to {rules.max_m:g} m"
        lines.append(f"| `{name}` | {metres} | {crop} | {frames} | {hidden} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(make_page())
    print(PAGE)
