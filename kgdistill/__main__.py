"""`python -m kgdistill`."""

import sys

from kgdistill.cli import main

if __name__ == "__main__":
    sys.exit(main())
