"""`python3 tests/sandbox …`: Python puts this folder, not its parent, on the path; put the parent there and start."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from sandbox.cli import main  # noqa: E402  (needs the line above)

sys.exit(main())
