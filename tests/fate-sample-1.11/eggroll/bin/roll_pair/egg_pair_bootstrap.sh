#!/bin/bash
# Becomes one egg pair. The options are those that a node manager passes; where Python and the rest are, --config says.
set -eu
port=0
while [ $# -gt 1 ]; do
    case $1 in
        --config) config=$2 ;;
        --session-id) session=$2 ;;
        --server-node-id) node=$2 ;;
        --processor-id) processor=$2 ;;
        --port) port=$2 ;;
        *) echo "egg_pair_bootstrap: unknown option $1" >&2; exit 2 ;;
    esac
    shift 2
done
property() { sed -n "s/^eggroll\.resourcemanager\.bootstrap\.egg_pair\.$1=//p" "$config"; }

venv=$(property venv)
PYTHONPATH=$(property pythonpath)${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
exec "${venv:+$venv/bin/}python" "$(property filepath)" \
    --config "$config" --session-id "$session" --server-node-id "$node" --processor-id "$processor" --port "$port"
