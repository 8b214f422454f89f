"""``python -m generator`` and the console script; ``--version`` needs no click, whose import takes longer."""

import sys

from generator import __version__


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        print(f"fategen, version {__version__}")
        return
    from generator.cli import main as run

    run()


if __name__ == "__main__":
    main()
