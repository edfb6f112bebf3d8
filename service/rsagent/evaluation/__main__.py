"""`python -m rsagent.evaluation`: the same as `rsagent eval`."""

from __future__ import annotations

import sys

from rsagent.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "eval")
    main()
