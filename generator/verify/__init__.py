"""Holds images against their contract: what the catalogue says that an image has, and how it behaves once started."""
