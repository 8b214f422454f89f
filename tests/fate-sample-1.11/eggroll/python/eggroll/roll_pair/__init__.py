"""The client side of eggroll, in miniature."""

import os
import socket
from pathlib import Path


def ask(server, question=""):
    """What ``resourcemanager.clustermanager`` or ``rollsite`` says; $EGGROLL_HOME/conf/eggroll.properties has its address."""
    file = Path(os.environ["EGGROLL_HOME"], "conf/eggroll.properties")
    lines = file.read_text(encoding="utf-8").splitlines()
    conf = dict(line.split("=", 1) for line in lines if "=" in line)
    address = conf[f"eggroll.{server}.host"], int(conf[f"eggroll.{server}.port"])
    with socket.create_connection(address, 5) as connection, connection.makefile("rw", encoding="utf-8") as lines:
        answer = lines.readline()
        if question:
            lines.write(question + "\n")
            lines.flush()
            answer = lines.readline()
        return answer.strip() or "error: no answer"
