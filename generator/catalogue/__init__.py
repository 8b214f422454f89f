"""The catalogue's YAML files, read and checked."""
