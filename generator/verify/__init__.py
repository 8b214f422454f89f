"""Checks images against their contract in the catalogue: what an image contains, and how it behaves when started."""
