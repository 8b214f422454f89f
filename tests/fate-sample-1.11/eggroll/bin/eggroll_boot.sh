#!/bin/bash
# eggroll_boot.sh start|stop|status "COMMAND" NAME: a command in the background, with its output and its id in logs/NAME.*
set -euf
action=$1 command=$2 name=$3
cd "${EGGROLL_HOME:-$(dirname "$0")/..}"
mkdir -p logs
pid=$(cat "logs/$name.pid" 2> /dev/null || true)
alive() { [ -n "$pid" ] && kill -0 "$pid" 2> /dev/null; }

case $action in
    start)
        if alive; then echo "$name: runs already, pid $pid"; exit 1; fi
        nohup $command > "logs/$name.out" 2> "logs/$name.err" < /dev/null &
        echo $! > "logs/$name.pid"
        echo "$name: pid $!"
        ;;
    stop) if alive; then kill "$pid"; fi; rm -f "logs/$name.pid" ;;
    status) if alive; then echo "$name: pid $pid"; else echo "$name: does not run"; exit 1; fi ;;
    *) echo "eggroll_boot: unknown action $action" >&2; exit 2 ;;
esac
