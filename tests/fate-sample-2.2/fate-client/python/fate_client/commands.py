import click


@click.group()
def flow():
    pass


@click.group()
def pipeline():
    pass


@click.command()
def init():
    pass


flow.add_command(init)
pipeline.add_command(init)
