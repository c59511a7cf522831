"""Let the plane sweep of weights trust its correlations more than training on worlds taught it to.

python tools/scale_evidence.py WEIGHTS --factor 2

Photographs deceive the encoder more often than generated images do, and the matching hardly: the
factor goes onto the learned weights of the correlations (docs/decisions/2026-11-27-photographs.md)
and into the card inside of WEIGHTS.
"""

import argparse
import math
from pathlib import Path

import torch

from driv3r.models.checkpoints import load_weights, save_network


def main() -> None:
    """Read, scale, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("--factor", type=float, required=True)
    options = parser.parse_args()
    if not 0 < options.factor < math.inf:
        parser.error(f"--factor is {options.factor}; expected a number over 0")
    model, card = load_weights(options.weights)
    sweep = model.depth_sweep
    with torch.no_grad():
        sweep.log_evidence_weight.add_(math.log(options.factor))  # XFeat's and the matcher's
        sweep.sharpness[1].add_(math.log(options.factor))  # the sweep features'
    card["evidence_factor"] = options.factor * card.get("evidence_factor", 1.0)
    save_network(options.weights, model, card)
    print(f"{options.weights}: correlations x {card['evidence_factor']:g}")


if __name__ == "__main__":
    main()
