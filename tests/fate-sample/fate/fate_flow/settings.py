from arch.api.utils import file_utils

WORK_MODE = 0

DATABASE = {
    'name': 'fate_flow',
    'user': 'root',
    'passwd': 'fate_dev',
    'host': '127.0.0.1',
    'port': 3306,
}

REDIS = {
    'host': '127.0.0.1',
    'port': 6379,
    'password': 'fate_dev',
}

API_VERSION = "v1"
IP = "0.0.0.0"
GRPC_PORT = 9360
HTTP_PORT = 9380

SERVERS = file_utils.load_json_conf("arch/conf/server_conf.json")["servers"]
