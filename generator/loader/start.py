"""The first module of ``fategen-load.pyz``. It checks the Python version, in syntax that every Python reads."""

import sys

if sys.version_info < (3, 8):  # noqa: UP036
    sys.exit("error: fategen-load.pyz needs Python 3.8 or later, this is %d.%d" % sys.version_info[:2])  # noqa: UP031

from generator import stdio
from generator.loader.__main__ import main

stdio.leave(main())
