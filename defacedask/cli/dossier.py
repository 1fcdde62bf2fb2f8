"""``defacedask dossier``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command(name="dossier")
@click.argument("out", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page. [OUT/report/dossier.html of a study, OUT.dossier.html of defaced files]",
)
@click.option(
    "--sign",
    metavar="KEY.pem|run",
    help="Sign it with an Ed25519 private key in PEM, or with the key that belongs to the run.",
)
@click.option("--pictures", is_flag=True, help="Put pictures of heads into the page. They identify people.")
@click.option("--check", is_flag=True, help="Check a dossier, its signature, and the folder against it.")
@click.option(
    "--public",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --check: the signer's public key (PEM), got in another way than with the page.",
)
def command(
    out: Path, to: Path | None, sign: str | None, pictures: bool, check: bool, public: Path | None
) -> None:
    r"""Write one page for a repository to file: what was done, tried and found, with hashes; signed if wanted.

    OUT is the output folder of `defacedask study` or `defacedask deface`. No patient is named in the page, and there
    is no picture of anybody in it unless --pictures is given. Beside the page lies its SHA-256, and with --sign an
    Ed25519 signature (.sig) and the public key (.pub.pem). With --check, exit code 1 if anything is not as it was.

    \b
    OpenSSL checks the signature, too:
      openssl pkeyutl -verify -pubin -inkey KEY.pub.pem -rawin -in dossier.html -sigfile dossier.html.sig

    \b
    Example:
      defacedask dossier result
      defacedask dossier result --sign KEY.pem
      defacedask dossier result --check --public KEY.pub.pem
    """
    from defacedask.dossier.page import usual_place, write_dossier
    from defacedask.dossier.signing import check_dossier, fingerprint, key_of_run, read_private
    from defacedask.errors import ConfigError, printable
    from defacedask.runs.run_key import read_key

    page = to or usual_place(out)
    if check:
        problems, said = check_dossier(page, out, public)
        for line in [*problems, *said]:
            click.echo(printable(line))
        raise click.exceptions.Exit(1 if problems else 0)
    places = (out / "store" / "run.key", out.with_name(f"{out.name}.work") / "run.key")
    known = next(filter(Path.is_file, places), None)
    run_key = read_key(known) if known else b""
    private = None
    if sign == "run":
        if not run_key:
            raise ConfigError(f"the run's key is not beside {out}.", "Sign with --sign KEY.pem.")
        private = key_of_run(run_key)
    elif sign:
        private = read_private(Path(sign))
    click.echo(write_dossier(out, to=page, key=run_key, sign=private, pictures=pictures))
    if private is not None:
        pem = page.with_name(f"{page.name}.pub.pem").read_bytes()
        click.echo(f"signed; fingerprint of the public key: {fingerprint(pem)}")
