from flow_client import commands

cli = commands("pipeline")
