"""Record what PyTorch makes of the cases of networks.py, in float64:  python make_witnesses.py [case ...]

Writes <case>.npz beside this file, with the starting point, so that a test needs neither PyTorch nor the same
random numbers.  Made with PyTorch 2.13.0.
"""

import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

import torch_twin  # noqa: E402
from networks import CASES, starting_point  # noqa: E402

for name in sys.argv[1:] or CASES:
    X, y, weight, arrays = starting_point(CASES[name])
    start = {"X": X, "y": y} | ({} if weight is None else {"weight": weight})
    start |= {f"start {key}": array for key, array in arrays.items()}
    np.savez_compressed(FOLDER / f"{name}.npz", **start, **torch_twin.run(CASES[name], X, y, weight, arrays))
    print(f"{name}.npz  {(FOLDER / f'{name}.npz').stat().st_size:,} bytes")
