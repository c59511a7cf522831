"""The mean of weights of one network: of runs that began at the same place it is often the better.

python tools/average_weights.py A.safetensors B.safetensors --out C.safetensors

The network and the card are the last one's; a tensor that an earlier one lacks, or has of another
shape, is the mean of those that have it. Fit sigma again afterwards (tools/fit_sigma.py).
Wortsman et al., Model soups: averaging weights of multiple fine-tuned models, ICML 2022.
"""

import argparse
from pathlib import Path

import torch

from driv3r.models.checkpoints import load_weights, read_tensors, save_weights
from driv3r.training.lineage import read_ancestry


def main() -> None:
    """Read all, average, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    network, card = load_weights(options.weights[-1])
    states = [read_tensors(path)[0] for path in options.weights]
    own, mean = network.state_dict(), {}
    for path, state in zip(options.weights, states, strict=True):
        if not any(name in own and own[name].shape == x.shape for name, x in state.items()):
            raise SystemExit(f"{path}: no tensor fits the last weights; give those of one network")
    for name, last in own.items():
        same = [s[name].float() for s in states if name in s and s[name].shape == last.shape]
        mean[name] = torch.stack(same).mean(0).half()
    card["ancestry"] = [each for path in options.weights for each in read_ancestry(path)]
    save_weights(options.out, network.config, mean, card)


if __name__ == "__main__":
    main()
