"""What FATE's algorithms call engines by, in miniature."""

ENGINES = ["eggroll", "standalone"]
