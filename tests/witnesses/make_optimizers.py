"""Record what PyTorch's optimizers make of random gradients, in float64:  python make_optimizers.py

Writes optimizers.npz beside this file: gradients, start, and the parameters after every step of each row of papers.py.
Made with PyTorch 2.13.0.
"""

import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from papers import OF_PYTORCH, RATE, name_of, starting_point  # noqa: E402
from torch_optimizers import optimize  # noqa: E402

gradients, start = starting_point(np.random.default_rng(0))
found = {name_of(op): optimize(op, gradients, start, RATE) for op in OF_PYTORCH}
np.savez_compressed(FOLDER / "optimizers.npz", gradients=gradients, start=start, **found)
print(f"optimizers.npz  {(FOLDER / 'optimizers.npz').stat().st_size:,} bytes")
