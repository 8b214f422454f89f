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
import eggroll
import fate_arch
import federatedml
import idna
import pytz
import setuptools
import tqdm
from eggroll.roll_pair import ask

from fate_flow.settings import API_VERSION, DATABASE, GRPC_PORT, HOST, HTTP_PORT, VERSIONS

VERSION = VERSIONS["FATEFlow"]


def report():
    data = {
        "API": API_VERSION,
        **VERSIONS,
        "eggroll": eggroll.VERSION,
        "engines": fate_arch.ENGINES,
        "algorithms": federatedml.ALGORITHMS,
        "python": sys.version.split()[0],
        "requirements": {module.__name__: module.__version__ for module in (click, idna, pytz, setuptools, tqdm)},
        "time": datetime.now(pytz.utc).isoformat(),
    }
    return {"retcode": 0, "retmsg": "success", "data": data}


def jobs():
    """Upstream reads them from MySQL; all that this one asks the database is to be there: MySQL speaks first."""
    try:
        with socket.create_connection(DATABASE, 2) as database:
            database.recv(1)
    except OSError as error:
        return {"retcode": 100, "retmsg": f"database {':'.join(DATABASE)}: {error}"}
    return {"retcode": 0, "retmsg": "success", "data": {"count": 0, "jobs": []}}


def submit(job):
    """The toy job: an egg pair here, and the other party's fateflow, each by the way that upstream takes."""
    try:
        for server, question in (
            ("resourcemanager.clustermanager", "egg_pair"),
            ("rollsite", str(job["role"]["host"][0])),
        ):
            answer = ask(server, question)
            if " ok" not in answer:
                return {"retcode": 100, "retmsg": f"{server}: {answer}"}
    except OSError as error:
        return {"retcode": 100, "retmsg": f"{server}: {error}"}
    return {"retcode": 0, "retmsg": "success", "jobId": "1", "data": 2000.0}


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answers = {"version/get": report, "job/list/job": jobs, "job/submit": lambda: submit(json.loads(body))}
        answer = answers.get(self.path.replace(f"/{API_VERSION}/", "", 1))
        body = json.dumps(answer() if answer else {"retcode": 404, "retmsg": "no such path: " + self.path})
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, form, *args):
        log(form % args)


class Line(socketserver.StreamRequestHandler):
    timeout = 1

    def handle(self):
        self.wfile.write(f"fateflow {VERSION} ok\n".encode())
        try:
            question = self.rfile.readline().decode().strip()
        except OSError:
            return  # it stays silent
        if question:
            self.wfile.write(f"{said(question)}\n".encode())


def said(question):
    if question != "clustermanager":
        return f"error: fateflow connects to no {question}"
    try:
        return ask("resourcemanager.clustermanager")
    except OSError as error:
        return f"error: clustermanager: {error}"


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port, handler):
        try:
            super().__init__((HOST, int(port)), handler)
        except (OSError, ValueError) as error:
            sys.exit(f"fateflow: error: {HOST}:{port}: {error}")


def log(message):
    click.echo(f"{datetime.now().replace(microsecond=0).isoformat()} fateflow {message}")


def stop(signum, frame):
    log("stopping")
    sys.exit(0)


def main():
    # A handler of our own: as the first process of a container, Python would otherwise never see SIGTERM's default.
    signal.signal(signal.SIGTERM, stop)
    lines = Server(GRPC_PORT, Line)
    threading.Thread(target=lines.serve_forever, daemon=True).start()
    api = Server(HTTP_PORT, Api)
    log(f"{VERSION} listening on ports {HTTP_PORT} and {GRPC_PORT} of {HOST}")
    api.serve_forever()


if __name__ == "__main__":
    main()
