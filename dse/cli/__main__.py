"""`python -m dse.cli`."""

import sys

from . import entry

if __name__ == "__main__":
    sys.exit(entry())
