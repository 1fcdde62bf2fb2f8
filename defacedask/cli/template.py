"""``defacedask template``: average heads, built and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from defacedask.cli.clusters import clients, cluster_options
from defacedask.cli.outputs import FOLDER


@click.group("template")
def command() -> None:
    """Average heads: build one from a cohort, or show what one is."""


@command.command("build")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", required=True, type=FOLDER, help="Folder for the template.")
@click.option("--modality", type=click.Choice(["CT", "MR"]), default="CT", show_default=True)
@click.option("--name", default="", help="Of the template [that of the folder].")
@click.option("--iterations", type=int, default=3, show_default=True, help="Rounds with deformation.")
@click.option("--spacing", type=float, default=2.0, show_default=True, help="mm of the template.")
@click.option(
    "--force", is_flag=True, help="Average fewer than five persons, whose faces it may then give back."
)
@cluster_options
def build(
    inputs: tuple[str, ...],
    out: Path,
    modality: str,
    name: str,
    iterations: int,
    spacing: float,
    force: bool,
    cluster: str,
    workers: int | None,
) -> None:
    r"""Make an average head from a cohort: affine, then deformable, to the cohort's mean shape.

    One image a person is used: the one of the modality with most voxels. MR should be of one contrast (only T1, only
    FLAIR). Heads that cannot be found with confidence are left out and named. At least five persons are needed.

    \b
    Example:
      defacedask template build patients/ --modality CT --out our_ct
      defacedask template show our_ct --picture our_ct.png
    """
    import functools

    import dask

    from defacedask.averaging import build_template
    from defacedask.io.dicom.catalogue import scan
    from defacedask.runs.outputs import outside

    outside(out, inputs)
    found = scan(*inputs)
    with clients(cluster, workers) as later:
        opened = None if later is None else functools.cache(later)

        def compute(*graphs: Any) -> Any:
            # now all that may be wrong with input and options has been looked at
            if opened is not None:
                opened()
            return dask.compute(*graphs)

        result = build_template(
            found.cases,
            out,
            modality=modality,
            name=name,
            iterations=iterations,
            spacing=spacing,
            force=force,
            compute=compute,
            progress=lambda sentence: click.echo(sentence, err=True),
        )
    for case, reason in result.refused:
        click.echo(f"{case}: left out: {reason}")
    for k, row in enumerate(result.rounds):
        click.echo(
            f"round {k}: {row['heads']} heads, mean difference {row['difference']:.1f}, "
            f"mean displacement {row['shift_mm']:.2f} mm, drift of the mean shape {row['drift_mm']:.2f} mm"
        )
    click.echo(
        f"{result.heads} heads averaged into {result.folder}; {100 * result.measured:.0f} % of the body is the "
        "cohort's own, the rest the built-in average's."
    )


@command.command("show")
@click.argument("name", required=False)
@click.option(
    "--picture", type=click.Path(path_type=Path, dir_okay=False), help="Write a picture of it (PNG)."
)
def show(name: str | None, picture: Path | None) -> None:
    r"""Say what an average head is: a built-in one by its name, one that was built by its folder.

    \b
    Example:
      defacedask template show
      defacedask template show average_ct --picture average.png
    """
    from rich.table import Table

    from defacedask.anatomy.template import load_template, template_names
    from defacedask.cli.consoles import table_console

    templates = [load_template(name)] if name else [load_template(one) for one in template_names()]
    table = Table(show_header=len(templates) > 1)
    table.add_column("name")
    for one in templates:
        table.add_column(one.name, overflow="fold")
    rows = [_rows(one) for one in templates]
    for key in rows[0]:
        if key != "name":
            table.add_row(key, *(row.get(key, "") for row in rows))
    if len(templates) == 1:
        table.add_row("name", templates[0].name)
    table_console().print(table)
    if picture is not None:
        from defacedask.averaging.picture import write_picture

        write_picture(templates[0], picture)
        click.echo(f"{picture}: {templates[0].name} from the front, from the side, and cut along the middle")


def _rows(template: object) -> dict[str, str]:
    from defacedask.anatomy.template import Template
    from defacedask.volume import units_of

    assert isinstance(template, Template)
    grid, facts = template.geometry, template.facts
    return {
        "name": template.name,
        "modality": f"{template.modality}, {units_of(template.image)}",
        "shape (z, y, x)": " x ".join(map(str, grid.shape)),
        "spacing, mm": " x ".join(f"{mm:g}" for mm in grid.spacing),
        "heads": str(facts.get("heads", "")) or "see source",
        "measured": f"{100 * facts['measured']:.0f} % of the body" if "measured" in facts else "",
        "source": str(facts.get("source", "")),
        "licence": str(facts.get("licence", "")),
        "regions": ", ".join(template.label_names),
        "structures": ", ".join(template.structure_names),
        "sha256": template.sha256,
    }
