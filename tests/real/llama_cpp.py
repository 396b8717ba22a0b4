"""llama.cpp's server with a model file, in the peers' environment:

    .venv-peers/bin/python -m tests.real.llama_cpp FILE

Prints its address, and ends with its stdin.
"""

import sys
from pathlib import Path

from benchmarks.peers import LlamaCpp

with LlamaCpp(Path(sys.argv[1]), "", 1, (0, 0)).server(1, 2048) as (url, _):
    print(url, flush=True)
    sys.stdin.read()
