"""The mean of weights of one network: of runs that began at the same place it is often the better.

python tools/average_weights.py A.safetensors B.safetensors --out C.safetensors

The card is the last one's. Fit sigma again afterwards (tools/fit_sigma.py).
Wortsman et al., Model soups: averaging weights of multiple fine-tuned models, ICML 2022.
"""

import argparse
from pathlib import Path

import torch

from driv3r.network.checkpoints import load_weights, save_weights


def main() -> None:
    """Read all, average, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    loaded = [load_weights(path) for path in options.weights]
    states = [network.state_dict() for network, _ in loaded]
    if any(network.config != loaded[0][0].config for network, _ in loaded):
        raise SystemExit("the weights are of different networks; give those of one recipe")
    mean = {k: torch.stack([s[k].float() for s in states]).mean(0) for k in states[0]}
    network, card = loaded[-1]
    save_weights(options.out, network.config, mean, card)


if __name__ == "__main__":
    main()
