"""FATE Flow in miniature: JSON over HTTP on 9380, and one line for whoever connects to 9360 (upstream: gRPC).

It imports from every package that the image has to hold, so an image that lacks one does not start.
"""
import json
import signal
import socket
import socketserver
import sys
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler

import click
import idna
import pytz
import tqdm

import eggroll.api
import federatedml
import federatedrec
from arch.api import WorkMode, session
from fate_flow.settings import API_VERSION, DATABASE, GRPC_PORT, HTTP_PORT, IP, SERVERS, WORK_MODE

VERSION = "1.3.0"


def report():
    return {
        "retcode": 0,
        "retmsg": "success",
        "data": {
            "FATE": VERSION,
            "eggroll": eggroll.api.VERSION,
            "algorithms": federatedml.ALGORITHMS + federatedrec.ALGORITHMS,
            "python": sys.version.split()[0],
            "requirements": {module.__name__: module.__version__ for module in (click, idna, pytz, tqdm)},
            "servers": sorted(SERVERS),
            "work_mode": WorkMode(WORK_MODE).name,
            "time": datetime.now(pytz.utc).isoformat(),
        },
    }


def jobs():
    """Upstream reads them from MySQL; all that this one asks the database is to be there: MySQL speaks first."""
    try:
        with socket.create_connection((DATABASE["host"], DATABASE["port"]), 2) as database:
            database.recv(1)
    except OSError as error:
        return {"retcode": 100, "retmsg": "database {host}:{port}: {}".format(error, **DATABASE)}
    return {"retcode": 101, "retmsg": "find job failed"}


def submit(job):
    """The toy job: a table here, and the other party's federation and fate_flow, each by the way that upstream takes."""
    host = str(job["role"]["host"][0])
    try:
        session.parallelize(range(1000)).count()
        for name, question in (("federation", host), ("proxy", host + " fateflow")):
            answer = session.ask(SERVERS[name]["host"], SERVERS[name]["port"], question)
            if " ok" not in answer:
                raise RuntimeError("{}: {}".format(name, answer))
    except (OSError, RuntimeError) as error:
        return {"retcode": 100, "retmsg": str(error)}
    return {"retcode": 0, "retmsg": "success", "data": 2000.0}


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answers = {"version": report, "job/query": jobs, "job/submit": lambda: submit(json.loads(body.decode()))}
        answer = answers.get(self.path.replace("/{}/".format(API_VERSION), "", 1))
        body = json.dumps(answer() if answer else {"retcode": 404, "retmsg": "no such path: " + self.path})
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, form, *args):
        log(form % args)


class Line(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write("fateflow {} ok\n".format(VERSION).encode())


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def log(message):
    click.echo("{} fateflow {}".format(datetime.now().replace(microsecond=0).isoformat(), message))


def stop(signum, frame):
    log("stopping")
    sys.exit(0)


def main():
    # A handler of our own: as the first process of a container, Python would otherwise never see SIGTERM's default.
    signal.signal(signal.SIGTERM, stop)
    if WORK_MODE == 1:
        # as upstream: in a cluster it does not start without roll
        with socket.create_connection((SERVERS["roll"]["host"], SERVERS["roll"]["port"]), 5) as roll:
            roll.recv(1)
    lines = Server((IP, GRPC_PORT), Line)
    threading.Thread(target=lines.serve_forever, daemon=True).start()
    api = Server((IP, HTTP_PORT), Api)
    log("{} listening on ports {} and {}".format(VERSION, HTTP_PORT, GRPC_PORT))
    api.serve_forever()


if __name__ == "__main__":
    main()
