"""``flow init --ip IP --port PORT``, ``pipeline init`` and ``flow test toy``, in the words of KubeFATE and upstream."""

import json
from pathlib import Path
from urllib.request import Request, urlopen

import click

SETTINGS = Path(__file__).with_name("settings.json")


def commands(name):
    """A group with ``init``, which remembers where it will ask."""

    @click.group(name)
    def group():
        pass

    @group.command()
    @click.option("--ip", required=True)
    @click.option("--port", required=True, type=int)
    def init(ip, port):
        """Remember where fateflow is."""
        SETTINGS.write_text(json.dumps([ip, port]), encoding="utf-8")
        click.echo("{} asks {}:{}".format(name, ip, port))

    return group


def submit(job):
    """What fateflow answers to a job."""
    url = "http://{}:{}/v1/job/submit".format(*json.loads(SETTINGS.read_text(encoding="utf-8")))
    with urlopen(Request(url, json.dumps(job).encode(), {"Content-Type": "application/json"}), timeout=60) as response:
        return json.loads(response.read().decode())
