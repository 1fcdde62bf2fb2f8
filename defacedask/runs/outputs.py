"""Where a run leaves what it made: a folder, or an address to which a folder of the run is copied at its end."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from defacedask.errors import ConfigError, RefusedError
from defacedask.io.remote import Said, is_remote
from defacedask.io.remote.publish import Target

__all__ = ["Output", "local_folder", "output_of"]

#: Parts of a study's folder that hold originals, keys and encodings of faces.
PRIVATE = ("store",)


@dataclasses.dataclass(frozen=True)
class Output:
    """Output of a run.

    Attributes
    ----------
    folder : Path
        Where the run works and leaves its output.
    work : Path or None
        Of the run's own data, where it is given or the output is an address.
    target : Target, optional
        Where the output is copied to.
    """

    folder: Path
    work: Path | None
    target: Target | None = None

    def publish(self, key: bytes = b"", say: Said = lambda _: None) -> None:
        """Copy the output to its address, if it has one, after it passed its verification.

        Raises
        ------
        RefusedError
            If it does not pass.
        RemoteError
            If the address did not take all of it.
        """
        if self.target is None:
            return
        from defacedask.verify import verify

        if (self.folder / "audit.jsonl").exists() and (problems := verify(self.folder, key=key).problems):
            raise RefusedError(
                f"{self.folder} did not pass its verification ({len(problems)} problems; {problems[0].file}: "
                f"{problems[0].what}), so nothing was copied to {self.target.address}.",
                "See `defacedask verify`.",
            )
        done = self.target.publish(self.folder, PRIVATE)
        say(
            f"{self.target.address}: {done.sent} files sent, {done.unchanged} unchanged, {done.removed} removed; "
            f"originals and keys stay in {self.work}."
        )


def output_of(out: str | Path, work: str | Path | None = None) -> Output:
    """Where a run of ``--out`` works.

    Parameters
    ----------
    out : path or str
        Folder, or an fsspec address such as ``s3://BUCKET/FOLDER``.
    work : path, optional
        Folder of the run; where ``out`` is an address by default ``FOLDER.work`` in the current one. A run that is
        to be resumed, or whose workers lie elsewhere, needs one that stays and that all of them see.

    Raises
    ------
    ConfigError, RemoteError
        If the address cannot take a folder.
    """
    own = None if work is None else Path(work).absolute()
    if not is_remote(str(out)):
        return Output(Path(out).absolute(), own)
    last = re.sub(r"[^\w.-]", "_", str(out).rstrip("/").rsplit("/", 1)[-1]) or "out"
    own = own or Path(f"{last}.work").absolute()
    return Output(own / "out", own, Target(str(out)))


def local_folder(out: str | Path) -> Path:
    """An output folder, absolute: workers may run elsewhere.

    Raises
    ------
    ConfigError
        If it is an address.
    """
    if is_remote(str(out)):
        raise ConfigError(f"{out} is an address, and this needs a folder.", "Name a folder of this machine.")
    return Path(out).absolute()
