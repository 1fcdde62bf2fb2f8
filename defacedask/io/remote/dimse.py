"""DIMSE (PS3.7): stored in an archive by C-STORE, over TLS if the address says so."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from defacedask import config
from defacedask.errors import ConfigError, DefacedaskError, MissingExtraError, RemoteError
from defacedask.io.remote.credentials import access_to
from defacedask.io.remote.room import sending

__all__ = ["check", "store"]

_ADDRESS = re.compile(
    r"dimse(?P<tls>\+tls)?://(?P<title>[^@/:]{1,16})@(?P<host>\[[^\]]+\]|[^:/]+):(?P<port>[0-9]+)/?"
)
#: Presentation contexts of one association (PS3.8 9.3.2.2).
CONTEXTS = 128


def check(address: str) -> re.Match[str]:
    """An address of an archive, taken apart; nothing is sent.

    Raises
    ------
    ConfigError
        If it is none of the form ``dimse://AET@host:port``.
    MissingExtraError
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ConfigError(f"{address} is no address of a DIMSE archive.", "Use dimse://AET@host:port.")
    try:
        import pynetdicom  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            "C-STORE needs pynetdicom, which is not installed.",
            "Install it with: pip install 'defacedask[dicomweb]'.",
        ) from None
    return found


def store(address: str, files: Sequence[Path], say: Any) -> int:
    """Send files by C-STORE.

    Parameters
    ----------
    address : str
        ``dimse://AET@host:port``, ``dimse+tls://...``.
    files : sequence of Path
    say : callable

    Returns
    -------
    int
        Instances stored.

    Raises
    ------
    ConfigError
        If the address is none of that form.
    RemoteError
        If the archive cannot be reached, rejects us, or did not take all.
    """
    found = check(address)
    from pynetdicom import AE, _config, evt

    access = access_to(address)
    where = f"{found['title']} at {found['host']}:{found['port']}"
    ae = AE(ae_title=str(config.option("remote.ae-title")))
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = access.timeout
    ae.connection_timeout = min(access.timeout, 15.0)
    _config.LOG_HANDLER_LEVEL = "none"
    with sending(files):
        kinds = _kinds(files)
    if len(kinds) > CONTEXTS:
        raise RemoteError(f"the files are of {len(kinds)} kinds, more than one association can carry.")
    for sop_class, syntax in sorted(kinds):
        ae.add_requested_context(sop_class, syntax)
    tls = None
    if found["tls"]:
        context = ssl.create_default_context(cafile=None if access.verify is True else str(access.verify))
        if access.certificate:
            context.load_cert_chain(*access.certificate)
        tls = (context, found["host"].strip("[]"))
    connections: list[Any] = []
    try:
        link = ae.associate(
            found["host"].strip("[]"),
            int(found["port"]),
            ae_title=found["title"],
            tls_args=tls,
            evt_handlers=[(evt.EVT_CONN_OPEN, connections.append)],
        )
    except (OSError, RuntimeError) as error:
        raise RemoteError(f"{where} cannot be reached ({error}).", "Check the address.") from None
    if not link.is_established:
        raise _no_association(link, where, bool(connections))
    done, refused = 0, []
    try:
        for path in files:
            if not link.is_established:
                refused.append(f"{path.name} and what follows (the association was lost)")
                break
            try:
                with sending([path]):
                    status = int(link.send_c_store(path).get("Status", 0x0110))
            except DefacedaskError:
                raise
            except (ValueError, RuntimeError) as error:
                refused.append(f"{path.name} ({' '.join(str(error).split())[:100]})")
                continue
            if status == 0 or status >> 12 == 0xB:  # success, or success with a warning
                done += 1
            else:
                refused.append(f"{path.name} (status 0x{status:04X})")
    finally:
        if link.is_established:
            link.release()
    if refused:
        raise RemoteError(
            f"{where} took {done} of {len(files)} instances; not {', '.join(refused[:3])}.",
            "Store again: what is there already stays as it is.",
        )
    say(f"{done} instances stored in {where}")
    return done


def _no_association(link: Any, where: str, connected: bool) -> RemoteError:
    """Why an archive did not let us begin. It may close the connection before its answer, or instead of one."""
    if link.is_rejected:
        return RemoteError(
            f"{where} rejects us.",
            "Let it know the AE title of the option remote.ae-title, or check its own.",
        )
    if not connected:
        return RemoteError(f"{where} cannot be reached.", "Check the address, and its TLS settings.")
    if link.rejected_contexts and not link.accepted_contexts:
        return RemoteError(
            f"{where} accepts nothing of what is to be sent.",
            "Check which SOP classes and transfer syntaxes it takes.",
        )
    return RemoteError(
        f"{where} answers, and ended the connection without accepting or rejecting us.",
        "Check both AE titles and the TLS settings, or try again later: the archive may be busy.",
    )


def _kinds(files: Sequence[Path]) -> set[tuple[str, str]]:
    """SOP classes and transfer syntaxes of the files."""
    from pydicom.filereader import read_file_meta_info

    out = set()
    for path in files:
        meta = read_file_meta_info(path)
        out.add((str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)))
    return out
