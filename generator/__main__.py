"""``python -m generator`` and the console script; ``--version`` needs no click, whose import takes longer."""

import gc
import sys

from generator import __version__


def main() -> None:
    words = {*sys.argv[1:]} - {"-v"}
    if words in ({"--version"}, {"version"}):
        print(f"fategen, version {__version__}")
        if "-v" in sys.argv:
            from pathlib import Path

            number = ".".join(map(str, sys.version_info[:3]))
            print(f"from {Path(__file__).parent}\nby {sys.executable}, Python {number}")
        return
    # imports make many objects and no garbage: to look for some is a seventh of a short command, half of it at its end
    gc.set_threshold(200_000)
    from generator import stdio
    from generator.cli import main as run

    try:
        run()
    except SystemExit as ended:
        gc.freeze()
        stdio.leave(ended.code if isinstance(ended.code, int) else 0)


if __name__ == "__main__":
    main()
