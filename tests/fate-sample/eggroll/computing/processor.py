"""A computing process in miniature: one line for whoever connects to its port (upstream: gRPC)."""
import argparse
import signal
import socketserver
import sys

from eggroll.api import VERSION


class Line(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write("processor {} ok\n".format(VERSION).encode())


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-p", "--port", type=int, required=True)
    options.add_argument("-d", "--data-dir", required=True)
    options.add_argument("-m", "--node-manager", required=True)
    options.add_argument("-a", "--engine-addr", required=True)
    port = options.parse_args().port
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(0))
    with socketserver.TCPServer(("0.0.0.0", port), Line) as server:
        print("processor {} listening on port {}".format(VERSION, port), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
