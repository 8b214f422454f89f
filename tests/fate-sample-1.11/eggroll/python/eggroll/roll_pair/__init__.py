"""The client side of eggroll, in miniature."""

import os
import socket
from pathlib import Path


def cluster_manager():
    """What the cluster manager says; $EGGROLL_HOME/conf/eggroll.properties has its address."""
    file = Path(os.environ["EGGROLL_HOME"], "conf/eggroll.properties")
    lines = file.read_text(encoding="utf-8").splitlines()
    conf = dict(line.split("=", 1) for line in lines if "=" in line)
    key = "eggroll.resourcemanager.clustermanager."
    with socket.create_connection((conf[key + "host"], int(conf[key + "port"])), 2) as asked:
        return asked.makefile(encoding="utf-8").readline().strip()
