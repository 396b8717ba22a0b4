"""Tech Assistant: a base code model, made into a technical assistant by a prompt."""

import os

__version__ = "0.2.0"

# How OpenMP's threads wait for each other, which it reads once, when torch is loaded: for long they
# spin, and where another program has a core the spinning takes it from the very thread that is
# waited for (a twentieth of the speed, measured on two cores beside one busy process).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
