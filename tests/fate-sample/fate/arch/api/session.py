"""Tables in eggroll, in miniature: what is counted is kept here, once roll has found its way to an egg."""
import socket

from arch.api import WorkMode
from arch.api.utils import file_utils


def init(job_id, mode):
    WorkMode(mode)


def parallelize(data, partition=1):
    server = file_utils.load_json_conf("eggroll/conf/server_conf.json")["servers"]["roll"]
    # roll asks meta-service for the node, that one its database, and then the egg that is there
    answer = ask(server["host"], server["port"], "egg")
    if " ok" not in answer:
        raise RuntimeError("roll: " + answer)
    return Table(data)


class Table:
    def __init__(self, data):
        self._rows = list(data)

    def count(self):
        return len(self._rows)


def ask(host, port, question):
    """The answer of one of the line servers, as they ask each other."""
    with socket.create_connection((host, port), 5) as connection, connection.makefile("rw") as lines:
        lines.readline()
        lines.write(question + "\n")
        lines.flush()
        return lines.readline().strip() or "error: no answer"
