"""Write images.npz: what torch computes for the layers of images and sequences, and for the normalisations beside them.

Run it where torch is installed, in the folder `tests`: `python -m reference.images`. `tests/test_reference_images.py` compares
pancake with the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from reference.generate import Arrays, Case, draw, function_reference

FILE = Path(__file__).with_name("images.npz")
SEED = 20261126

CASES = [
    Case("RMSNorm(3)", "nn.RMSNorm(3)"),
    Case("RMSNorm(3, eps=0.1)", "nn.RMSNorm(3, eps=0.1)"),
    Case("BatchNorm2d(3)", "nn.BatchNorm2d(3)", (2, 3, 4, 3), leading=False),
    Case("BatchNorm2d(3, momentum=0.3, eps=0.1)", "nn.BatchNorm2d(3, momentum=0.3, eps=0.1)", (2, 3, 4, 3), leading=False),
    Case("BatchNorm2d(3)", "nn.BatchNorm2d(3)", (2, 3, 4, 3), leading=False, training=False),
    Case("GroupNorm(2, 4)", "nn.GroupNorm(2, 4)", (3, 4), leading=False),
    Case("GroupNorm(2, 4, eps=0.1)", "nn.GroupNorm(2, 4, eps=0.1)", (2, 4, 3), leading=False),
    Case("GroupNorm(1, 3)", "nn.GroupNorm(1, 3)", (2, 3, 4, 3), leading=False),
    Case("Conv1d(3, 4, 3)", "nn.Conv1d(3, 4, 3)", (2, 3, 7), leading=False),
    Case(
        "Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=False)",
        "nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=False)",
        (3, 4, 9),
        leading=False,
    ),
    Case("Conv2d(3, 4, 3)", "nn.Conv2d(3, 4, 3)", (2, 3, 5, 6), leading=False),
    Case("Conv2d(2, 3, 1)", "nn.Conv2d(2, 3, 1)", (1, 2, 3, 1), leading=False),
    Case("Conv2d(2, 2, 2, stride=2, padding=1)", "nn.Conv2d(2, 2, 2, stride=2, padding=1)", (2, 2, 5, 4), leading=False),
    Case("Conv2d(3, 6, 3, padding=1, groups=3)", "nn.Conv2d(3, 6, 3, padding=1, groups=3)", (2, 3, 4, 4), leading=False),
    Case(
        "Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(0, 2), dilation=(1, 3), groups=2, bias=False)",
        "nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(0, 2), dilation=(1, 3), groups=2, bias=False)",
        (2, 4, 6, 5),
        leading=False,
    ),
    Case("ConvTranspose2d(3, 4, 3)", "nn.ConvTranspose2d(3, 4, 3)", (2, 3, 3, 4), leading=False),
    Case(
        "ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), padding=(1, 0), dilation=(2, 1), groups=2)",
        "nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), padding=(1, 0), dilation=(2, 1), groups=2)",
        (2, 4, 3, 2),
        leading=False,
    ),
    Case("ConvTranspose2d(2, 2, 2, bias=False)", "nn.ConvTranspose2d(2, 2, 2, bias=False)", (1, 2, 3, 3), leading=False),
    Case("MaxPool1d(2)", "nn.MaxPool1d(2)", (3, 2, 7), leading=False),
    Case("MaxPool1d(3, stride=1, padding=1)", "nn.MaxPool1d(3, stride=1, padding=1)", (3, 2, 7), leading=False),
    Case("MaxPool2d(2)", "nn.MaxPool2d(2)", (2, 3, 4, 5), leading=False),
    Case("MaxPool2d(3, stride=2, padding=1)", "nn.MaxPool2d(3, stride=2, padding=1)", (2, 3, 7, 6), leading=False),
    Case("MaxPool2d((3, 2), stride=(1, 2), padding=(1, 0))", "nn.MaxPool2d((3, 2), (1, 2), (1, 0))", (2, 2, 5, 6), leading=False),
    Case("AvgPool1d(2)", "nn.AvgPool1d(2)", (3, 2, 7), leading=False),
    Case("AvgPool1d(3, stride=2, padding=1)", "nn.AvgPool1d(3, stride=2, padding=1)", (3, 2, 8), leading=False),
    Case("AvgPool2d(2)", "nn.AvgPool2d(2)", (2, 3, 4, 5), leading=False),
    Case("AvgPool2d((3, 2), stride=(1, 2), padding=(1, 0))", "nn.AvgPool2d((3, 2), (1, 2), (1, 0))", (2, 2, 5, 6), leading=False),
    Case("GlobalAvgPool2d()", "lambda x: x.mean((2, 3))", (2, 3, 4, 2), leading=False),
    Case("Upsample(3)", "nn.Upsample(scale_factor=3)", (2, 3, 4), leading=False),
    Case("Upsample(2)", "nn.Upsample(scale_factor=2)", (2, 3, 2, 3), leading=False),
    Case("Upsample((3, 2))", "nn.Upsample(scale_factor=(3, 2))", (2, 3, 2, 3), leading=False),
    Case(
        "Sequential([Conv2d(1, 2, 3, padding=1), ReLU(), MaxPool2d(2), Conv2d(2, 3, 2), BatchNorm2d(3),"
        " Flatten(), Linear(12, 2)])",
        "nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3),"
        " nn.Flatten(), nn.Linear(12, 2))",
        (3, 1, 6, 6),
        leading=False,
    ),
]


def main() -> None:
    rng = np.random.default_rng(SEED)
    arrays: Arrays = {"cases": np.array(repr(CASES))}
    for i, case in enumerate(CASES):
        for name, array in function_reference(case, draw(case, case.shape, rng), rng).items():
            arrays[f"{i}.{name}"] = array
    np.savez_compressed(FILE, **arrays)
    print(f"{FILE.name}: {len(arrays)} arrays, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
