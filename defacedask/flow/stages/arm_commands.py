"""Somebody else's defacer as a command: run once a case, without a shell, in its own folder, for a limited time."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from pathlib import Path

from defacedask.errors import ConfigError, DefacedaskError

__all__ = ["gives_folder", "run_command", "split_command", "takes_folder"]

#: Placeholders: a NIfTI file, or a folder with copies of the case's own files; and what the command is to write.
INPUT, INPUT_DIR, OUTPUT, OUTPUT_DIR = "{input}", "{input_dir}", "{output}", "{output_dir}"
#: Characters of a program's last words that are told.
MOST = 300
#: Bytes of its log that are read for them: a program may write without end.
_TAIL = 64 * 1024


def takes_folder(command: str) -> bool:
    """Whether it is given a folder with the case's own files, and not one NIfTI file."""
    return INPUT_DIR in command


def gives_folder(command: str) -> bool:
    """Whether what it writes is looked for in a folder."""
    return OUTPUT_DIR in command or takes_folder(command)


def split_command(command: str) -> list[str]:
    """Words of a command, placeholders still in them.

    Raises
    ------
    ConfigError
        If quotes are left open, or it names no input or no output, or two of one kind.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"the command {command!r} cannot be read ({error}).", "Close its quotes.") from None
    for one, other, what in ((INPUT, INPUT_DIR, "input"), (OUTPUT, OUTPUT_DIR, "output")):
        if (one in command) == (other in command):
            raise ConfigError(
                f"the command {command!r} must name its {what} in one way.",
                f"Write {one}, or {other} for a folder, where the {what} belongs.",
            )
    return words


def run_command(command: str, given: Path, wanted: Path, *, folder: Path, seconds: float) -> None:
    """Run a command and wait for it.

    Parameters
    ----------
    command : str
        With placeholders; no shell reads it.
    given, wanted : Path
        What stands in their place.
    folder : Path
        Where it runs.
    seconds : float
        After which it is ended, with all that it started.

    Raises
    ------
    DefacedaskError
        If it is not there, takes too long, ends with another code than 0, or leaves nothing; with its last words.
    """
    words = split_command(command)
    for marks, path in (((INPUT, INPUT_DIR), given), ((OUTPUT, OUTPUT_DIR), wanted)):
        for mark in marks:
            words = [word.replace(mark, str(path)) for word in words]
    log, own = folder / "stderr", folder / "tmp"
    own.mkdir(exist_ok=True)
    # what it leaves lying about is made of the original, and goes with the folder
    around = {**os.environ, **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(own))}
    try:
        with log.open("wb") as errors:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=around,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
    except OSError as error:
        raise DefacedaskError(
            f"{words[0]} cannot be started ({error.strerror}).",
            "Install it where the workers run, or mend its name.",
        ) from None
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise DefacedaskError(
            f"{words[0]} was ended after {seconds:g} seconds{_last_words(log)}.",
            "Raise arms.seconds in the configuration if it needs longer.",
        ) from None
    finally:
        # what it started in the background, too
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code:
        raise DefacedaskError(f"{words[0]} ended with code {code}{_last_words(log)}.")
    # a pipe or a device would be waited for without end
    if not (wanted.is_file() or any(p.is_file() for p in wanted.rglob("*"))):
        raise DefacedaskError(
            f"{words[0]} left no output{_last_words(log)}.",
            f"It must write to {OUTPUT}, as its command says.",
        )


def _last_words(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        text = file.read(_TAIL).decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    said = [line for line in lines if line]
    return f" ({said[-1][-MOST:]})" if said else ""
