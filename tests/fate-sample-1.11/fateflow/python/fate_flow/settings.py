"""What conf/service_conf.yaml and fate.env say, in the directory that $FATE_PROJECT_BASE names."""

import os
import sys
from pathlib import Path

API_VERSION = "v1"


def read(name):
    try:
        return Path(os.environ.get("FATE_PROJECT_BASE", "."), name).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        sys.exit(f"fateflow: error: cannot read {error.filename}: {error.strerror}")


def block(name, *keys):
    """The values of a block's own keys: by hand, for no library of the requirements reads YAML."""
    found, inside = {}, False
    for line in read("conf/service_conf.yaml"):
        if line[:1] not in ("", " ", "#"):
            inside = line.startswith(name + ":")
        elif inside and line.startswith("  ") and line[2:3] not in ("", " ", "#"):
            key, _, value = line.partition(":")
            found[key.strip()] = value.split(" #")[0].strip().strip("'\"")
    missing = [key for key in keys if not found.get(key)]
    if missing:
        sys.exit(f"fateflow: error: conf/service_conf.yaml lacks {', '.join(missing)} of {name}")
    return [found[key] for key in keys]


VERSIONS = dict(line.split("=", 1) for line in read("fate.env") if "=" in line)
HOST, HTTP_PORT, GRPC_PORT = block("fateflow", "host", "http_port", "grpc_port")
DATABASE = tuple(block("database", "host", "port"))
