from flow_client import commands

flow_cli = commands("flow")
