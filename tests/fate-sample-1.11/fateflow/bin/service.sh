#!/bin/sh
# upstream starts and stops fate_flow with it; the image starts it itself
exec python "$(dirname "$0")/../python/fate_flow/fate_flow_server.py"
