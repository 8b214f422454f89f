"""``flow init --ip IP --port PORT`` and ``pipeline init``, in the words that KubeFATE starts a client with."""

import click


def commands(name):
    """A group with ``init``, which says where it will ask."""

    @click.group(name)
    def group():
        pass

    @group.command()
    @click.option("--ip", required=True)
    @click.option("--port", required=True, type=int)
    def init(ip, port):
        """Remember where fateflow is."""
        click.echo("{} asks {}:{}".format(name, ip, port))

    return group
