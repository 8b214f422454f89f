"""``run_toy_example.py GUEST HOST WORK_MODE``: a job of both parties, in upstream's words; fate_flow is where its conf says."""
import json
import sys
from urllib.request import Request, urlopen

from arch.api.utils import file_utils


def main(guest, host, work_mode):
    server = file_utils.load_json_conf("arch/conf/server_conf.json")["servers"]["fateflow"]
    url = "http://{}:{}/v1/job/submit".format(server["host"], server["http.port"])
    job = {"role": {"guest": [int(guest)], "host": [int(host)]}, "job_parameters": {"work_mode": int(work_mode)}}
    with urlopen(Request(url, json.dumps(job).encode(), {"Content-Type": "application/json"}), timeout=60) as response:
        answer = json.loads(response.read().decode())
    if answer["retcode"] != 0:
        raise ValueError("failed to exec task, " + answer["retmsg"])
    print("secure_add_guest.py - INFO: success to calculate secure_sum, it is {}".format(answer["data"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
