"""The program as Spaces and people start it: python app.py is python -m assistant."""

import sys

from assistant.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
