"""`python -m bpfast` is the command `bpfast`."""

import sys

from .cli import main

sys.exit(main())
