#!/bin/bash
# Starts one Python processor. The options are those that an egg passes: each has a value, all but --python-path are needed.
set -eu
while [ $# -gt 1 ]; do
    case $1 in
        --venv) venv=$2 ;;
        --python-path) export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$2 ;;
        --engine-path) engine=$2 ;;
        --port) port=$2 ;;
        --data-dir) data=$2 ;;
        --logs-dir) logs=$2 ;;
        --node-manager) manager=$2 ;;
        --engine-addr) address=$2 ;;
        *) echo "processor-starter: unknown option $1" >&2; exit 2 ;;
    esac
    shift 2
done
mkdir -p "$logs"
exec "$venv/bin/python" "$engine" -p "$port" -d "$data" -m "$manager" -a "$address" >>"$logs/processor-$port.log" 2>&1
