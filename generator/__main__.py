"""``python -m generator`` and the console script; ``--version`` needs no click, whose import takes longer."""

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
    from generator import stdio
    from generator.cli import main as run

    try:
        run()
    except SystemExit as ended:
        stdio.leave(ended.code if isinstance(ended.code, int) else 0)


if __name__ == "__main__":
    main()
