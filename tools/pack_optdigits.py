"""Pack the UCI digits into bpfast/optdigits.npz.   python tools/pack_optdigits.py optdigits.tra optdigits.tes

The two files are the official split as UCI publishes it; a line is 64 pixel sums 0..16, then the digit.
"""

import sys
import zipfile
from pathlib import Path

import numpy as np

train, test = (np.loadtxt(name, delimiter=",", dtype=np.uint8) for name in sys.argv[1:3])
assert train.shape == (3823, 65) and test.shape == (1797, 65) and max(train.max(), test.max()) == 16

packed = Path(__file__).parent.parent / "bpfast" / "optdigits.npz"
parts = {"X_train": train[:, :64], "y_train": train[:, 64], "X_test": test[:, :64], "y_test": test[:, 64]}
with zipfile.ZipFile(packed, "w", zipfile.ZIP_BZIP2) as archive:  # deflated it is a sixth larger
    for name, array in parts.items():
        with archive.open(f"{name}.npy", "w") as file:
            np.lib.format.write_array(file, np.ascontiguousarray(array))
print(f"{packed}: {packed.stat().st_size} bytes")
