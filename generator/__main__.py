"""``python -m generator`` is the same command as ``fategen``."""

from generator.cli import main

if __name__ == "__main__":
    main()
