"""Tech Assistant: a base code model, made into a technical assistant by a prompt."""

import os

__version__ = "0.2.0"

# How long OpenMP's threads wait awake for each other, which it reads once, when torch is loaded.
# Where another program has a core, whoever is awake takes it from the very thread that is waited
# for: on two cores beside one busy process prefill takes twice as long with 2,500, no longer with
# 1,000, and alone nothing is faster with more.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
