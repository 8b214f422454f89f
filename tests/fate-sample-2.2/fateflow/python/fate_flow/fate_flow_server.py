"""Answers HTTP on http_port and accepts connections on grpc_port, where conf/service_conf.yaml says."""

import json
import re
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import eggroll
import fate
import pymysql

HOME = Path(__file__).resolve().parents[2]
VERSION = re.search("(?m)^FATE_FLOW=(.*)$", (HOME / "fateflow.env").read_text())[1]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        versions = {"fate": fate.__version__, "eggroll": eggroll.__version__, "pymysql": pymysql.__version__}
        body = json.dumps({"code": 0, "data": versions}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    conf = (HOME / "conf/service_conf.yaml").read_text()
    host, http_port, grpc_port = (
        re.search(f"(?m)^fateflow:(?:\n  .*)*?\n  {name}: (.*)$", conf)[1]
        for name in ("host", "http_port", "grpc_port")
    )
    grpc = ThreadingHTTPServer((host, int(grpc_port)), Handler)
    threading.Thread(target=grpc.serve_forever, daemon=True).start()
    print(f"fateflow {VERSION} listens on {host}:{http_port} and {grpc_port}", flush=True)
    ThreadingHTTPServer((host, int(http_port)), Handler).serve_forever()
