"""Time training steps beside torch's, of nets for which no loop is written by hand, and print the ratios.

    python benchmarks/beside_torch.py
    python benchmarks/beside_torch.py --rounds 41

A ratio is pancake's time divided by torch's, one thread each: median and quartiles of alternating runs. Less than 1 is faster
than torch. How it is measured: benchmarks/README.md.
"""

import argparse
import sys

from run import WIDEST, Worker, alternate, cell, positive, quartiles, say
from workloads import BESIDE_TORCH


def ratio(workload, rounds):
    """The time of pancake over that of torch: median and quartiles; None where there is no torch."""
    with Worker("with_torch", workload, threads=1) as torch, Worker("with_pancake", workload, threads=1) as pancake:
        if torch.missing:
            say(f"{workload.name}: torch is missing: {torch.missing}")
            return None
        apart = max(abs(a - b) / max(abs(b), 1) for a, b in zip(pancake.results, torch.results, strict=True))
        if apart > WIDEST[workload.dtype]:
            say(f"{workload.name}: the results of pancake lie {apart:.1e} from torch's")
        torch.calibrate()
        pancake.calibrate()
        return quartiles(alternate(torch.seconds_a_step, pancake.seconds_a_step, rounds))


def main(command):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=21, help="pairs of which the median is taken")
    rounds = parser.parse_args(command).rounds
    for workload in BESIDE_TORCH.values():
        print(f"{workload}: {cell(ratio(workload, rounds))}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("\nstopped")
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"beside_torch.py: {error}")
