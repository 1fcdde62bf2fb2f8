"""Who we are to a remote service, and how far its certificate is trusted."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

from defacedask import config
from defacedask.errors import ConfigError

__all__ = ["Access", "access_to"]

#: Environment: a user and password, or a bearer token.
USER, PASSWORD, TOKEN = "DEFACEDASK_REMOTE_USER", "DEFACEDASK_REMOTE_PASSWORD", "DEFACEDASK_REMOTE_TOKEN"


@dataclasses.dataclass(frozen=True)
class Access:
    """How a service is reached.

    Attributes
    ----------
    user, password, token : str
        From the environment; empty where ``~/.netrc`` or nothing is used.
    verify : str or bool
        Bundle of certificates to trust, or True for the system's.
    certificate : tuple of str
        Our own certificate and key files, or ().
    timeout : float
        Seconds without an answer.
    """

    user: str = dataclasses.field(default="", repr=False)
    password: str = dataclasses.field(default="", repr=False)
    token: str = dataclasses.field(default="", repr=False)
    verify: str | bool = True
    certificate: tuple[str, ...] = ()
    timeout: float = 60.0


def access_to(address: str) -> Access:
    """Credentials and trust for an address.

    Raises
    ------
    ConfigError
        If the address holds a password, would carry one unencrypted over a network, or a file that the
        configuration names is not there.
    """
    parts = urlsplit(address)
    if parts.password is not None or (parts.username is not None and not parts.scheme.startswith("dimse")):
        raise ConfigError(
            "an address must hold neither user nor password: it ends up in logs and process lists.",
            f"Set {USER} and {PASSWORD}, or use ~/.netrc.",
        )
    user, password, token = (os.environ.get(name, "") for name in (USER, PASSWORD, TOKEN))
    if bool(user) != bool(password):
        raise ConfigError(f"only one of {USER} and {PASSWORD} is set.", "Set both or none.")
    if (
        (user or token)
        and parts.scheme.endswith("http")
        and not _loopback(parts.hostname or "")
        and not config.option("remote.allow-plain-http")
    ):
        raise ConfigError(
            f"the password for {parts.hostname} would cross the network unencrypted.",
            "Use https, or set the option remote.allow-plain-http.",
        )
    files = {
        name: config.option(f"remote.{name}") for name in ("ca-bundle", "certificate", "certificate-key")
    }
    for name, path in files.items():
        if path and not Path(path).is_file():
            raise ConfigError(f"the file {path} of the option remote.{name} is not there.", "Check the name.")
    own = tuple(p for p in (files["certificate"], files["certificate-key"]) if p)
    return Access(
        user, password, token, files["ca-bundle"] or True, own, float(config.option("remote.timeout"))
    )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
