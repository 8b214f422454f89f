"""A real Docker engine for tests and the demo, on a machine that has none (see README.md beside this file)."""
