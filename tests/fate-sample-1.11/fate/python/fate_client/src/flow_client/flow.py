import json

import click

from flow_client import commands, submit

flow_cli = commands("flow")


@flow_cli.group()
def test():
    pass


@test.command()
@click.option("--guest-party-id", required=True, type=int)
@click.option("--host-party-id", required=True, type=int)
def toy(guest_party_id, host_party_id):
    """A job of both parties."""
    answer = submit({"role": {"guest": [guest_party_id], "host": [host_party_id]}})
    if answer["retcode"] == 0:
        click.echo("toy test job {jobId} is success".format(**answer))
        click.echo("secure_add_guest.py - INFO: success to calculate secure_sum, it is {data}".format(**answer))
    else:
        click.echo(json.dumps(answer, indent=4))
