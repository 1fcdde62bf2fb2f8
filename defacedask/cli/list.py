"""``defacedask list``."""

from __future__ import annotations

import click

from defacedask.cli.verbose import show_traceback


@click.command("list")
@click.argument("what", type=click.Choice(["defacers", "recognisers", "attacks"]))
def command(what: str) -> None:
    """Say which defacers (with their options), recognisers or attacks there are.

    Exit code 1 if a plug-in cannot be loaded.

    Example: defacedask list defacers
    """
    listed = {"defacers": _defacers, "recognisers": _recognisers, "attacks": _attacks}
    if not listed[what]():
        raise click.exceptions.Exit(1)


def _attacks() -> bool:
    from defacedask.attacks import ATTACK_SETS, attack_names, get_attack
    from defacedask.errors import ConfigError

    well = True
    for name in attack_names():
        try:
            click.echo(f"{name}: {get_attack(name).about}")
        except ConfigError as error:
            well = False
            show_traceback(click.get_current_context().obj, error)
            click.echo(f"{name}: cannot be used: {error}")
    click.echo("\n".join(f"set {name}: {', '.join(several)}" for name, several in ATTACK_SETS.items()))
    return well


def _recognisers() -> bool:
    from defacedask.errors import ConfigError
    from defacedask.faces.recognition import ABOUT, get_recogniser, recogniser_names

    well = True
    for name in recogniser_names():
        try:
            # ours say themselves, when they are asked for, what they lack (a network file, an extra)
            about = ABOUT[name] if name in ABOUT else get_recogniser(name) and "a plug-in"
            click.echo(f"{name}: {about}")
        except ConfigError as error:
            well = False
            show_traceback(click.get_current_context().obj, error)
            click.echo(f"{name}: cannot be used: {error}")
    return well


def _defacers() -> bool:
    from defacedask.defacers import code_of, defacer_names, get_defacer
    from defacedask.defacers.options import known_options
    from defacedask.errors import ConfigError

    well = True
    for name in defacer_names():
        try:
            kind = type(get_defacer(name))
        except ConfigError as error:
            well = False
            show_traceback(click.get_current_context().obj, error)
            click.echo(f"{name}: cannot be used: {error}")
            continue
        code = code_of(name)
        click.echo(f"{name} ({code['distribution']} {code['version']}): {kind.describe()}")
        click.echo(f"    options: {known_options(kind)}")
    return well
