"""`python -m narravid`: the command line, also for `torchrun -m narravid`."""

import sys

from narravid.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
