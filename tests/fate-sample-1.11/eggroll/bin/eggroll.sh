#!/bin/bash
# eggroll.sh clustermanager|nodemanager|rollsite start|stop|status: one of eggroll's processes, in the background.
set -eu
export EGGROLL_HOME=${EGGROLL_HOME:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$EGGROLL_HOME"

java="java -Dlog4j.configurationFile=conf/log4j2.properties -cp lib/*"
bootstrap="$java com.webank.eggroll.core.Bootstrap -c conf/eggroll.properties -s EGGROLL_DEAMON"
package=com.webank.eggroll.core.resourcemanager
case ${1:-} in
    clustermanager) command="$bootstrap --bootstraps $package.ClusterManagerBootstrap -p 4670" ;;
    nodemanager) command="$bootstrap --bootstraps $package.NodeManagerBootstrap -p 4671" ;;
    rollsite) command="$java com.webank.eggroll.rollsite.EggSiteBootstrap -c conf/eggroll.properties" ;;
    *) echo "usage: $0 clustermanager|nodemanager|rollsite start|stop|status" >&2; exit 2 ;;
esac
exec bash bin/eggroll_boot.sh "${2:-status}" "$command" "$1"
