"""An egg pair in miniature: one line for whoever connects to its port (upstream: gRPC)."""

import argparse
import signal
import socketserver
import sys

from eggroll import VERSION


class Line(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(f"egg_pair {VERSION} ok\n".encode())


def main():
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("config", "session-id", "server-node-id", "processor-id"):
        options.add_argument(f"--{name}", required=True)
    options.add_argument("--port", type=int, default=0, help="0: one that is free")
    port = options.parse_args().port
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(0))
    with socketserver.TCPServer(("127.0.0.1", port), Line) as server:
        print(f"egg_pair {VERSION} listening on port {server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
