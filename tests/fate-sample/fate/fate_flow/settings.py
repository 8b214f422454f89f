from arch.api.utils import file_utils

API_VERSION = "v1"
IP = "0.0.0.0"
GRPC_PORT = 9360
HTTP_PORT = 9380

SERVERS = file_utils.load_json_conf("arch/conf/server_conf.json")["servers"]
