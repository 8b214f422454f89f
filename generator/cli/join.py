"""``fategen join``: publish a release that several machines uploaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from generator.cli.common import change_options, directory_option, format_option, open_project, say_warnings
from generator.progress import Bar
from generator.stdio import show


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Move tags that point to other images.")
@format_option
@directory_option
@change_options
def command(files: tuple[Path, ...], overwrite: bool, output_format: str, directory: Path, **changes: Any) -> None:
    """Publish a release that several machines uploaded with bake --push --digests FILE.

    join creates one index for each image, then writes all tags.
    Together, the files must contain every image and platform of the project, from the same settings and
    sources.
    """
    from generator.bake.join import join
    from generator.bake.publish import release_access
    from generator.config.reference import below
    from generator.registry.client import Registry
    from generator.registry.explain import not_published
    from generator.registry.http import RegistryError
    from generator.text import human, replaced_line, short_digest, table
    from generator.workspace import load

    workspace = load(open_project(directory), **changes)
    say_warnings(workspace.warnings)
    access = release_access(workspace)
    try:
        with Bar("publishing", quiet=False) as bar:
            published = join(workspace, files, Registry(access), overwrite=overwrite, progress=bar)
    except RegistryError as error:
        raise not_published(access, workspace.plan.settings.prefix, error, workspace.project.state) from error
    images: list[dict[str, object]] = []
    rows: list[tuple[str, ...]] = []
    for p in published:
        path, digest, contents = p.publication.path, p.publication.target.digest, p.publication.contents
        names = [f"{access.host}/{path}:{tag}" for tag in p.publication.tags]
        known = {"platforms": list(contents.platforms), "sizes": contents.sizes, "state": p.state}
        images.append({"references": names, "digest": digest, **known, "replaced": p.replaced or None})
        sizes, name = " + ".join(map(human, contents.sizes.values())), below(workspace.plan.settings.prefix, path)
        rows.append((name, " ".join(contents.platforms), sizes, short_digest(digest), p.state))
    text = table(("IMAGE", "PLATFORMS", ">SIZE", "DIGEST", ""), rows)
    replaced = replaced_line((row[0], p.replaced) for row, p in zip(rows, published, strict=True))
    show(output_format, images, f"{text}\n{replaced}".rstrip())
