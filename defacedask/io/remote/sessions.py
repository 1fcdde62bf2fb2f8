"""Connections to web services: what they trust, how they say that something broke."""

from __future__ import annotations

import re
from typing import Any

from defacedask.errors import RemoteError
from defacedask.io.remote.credentials import Access

__all__ = ["broken", "session_of"]


def session_of(access: Access) -> Any:
    """A `requests.Session` that trusts what it is told to trust and nothing else.

    It tries again what a busy server asks for (429, 503), and sends no password by itself.

    Raises
    ------
    ImportError
        If requests is not installed; the caller names the extra.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    class Session(requests.Session):
        def merge_environment_settings(
            self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
        ) -> Any:
            settings = super().merge_environment_settings(url, proxies, stream, verify, cert)
            if self.verify is not True:
                settings["verify"] = self.verify  # an environment variable would win over the option
            return settings

    session: Any = Session()
    session.verify = access.verify
    if access.certificate:
        session.cert = access.certificate if len(access.certificate) > 1 else access.certificate[0]
    again = Retry(
        total=3, connect=0, read=0, backoff_factor=0.5, status_forcelist=(429, 503), raise_on_status=False
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    return session


def broken(error: Exception, where: str, what: str) -> RemoteError:
    """What a connection came to, as one sentence.

    Parameters
    ----------
    error : requests.exceptions.RequestException
    where : str
        Host, and port where it says something.
    what : str
        What was being done, such as ``looking for the study``.
    """
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        text = " ".join(str(error.args[0] if error.args else error).split())
        reason = re.search(r"certificate verify failed: [^(']+|[A-Z_]{8,}", text)
        return RemoteError(
            f"the TLS connection to {where} failed ({(reason[0] if reason else text[:120]).strip()}).",
            "Set the option remote.ca-bundle to the certificate that signs the server's.",
        )
    if _late(error):
        return RemoteError(f"{where} did not answer in time while {what}.", "Try again later.")
    return RemoteError(
        f"{where} cannot be reached, or broke off while {what} ({type(error).__name__}).",
        "Check the address and the network.",
    )


def _late(error: Exception) -> bool:
    """Whether it was time that ran out; requests says so of few of the cases, and urllib3 of all."""
    import requests
    from urllib3.exceptions import NewConnectionError
    from urllib3.exceptions import TimeoutError as Late

    first = error.args[0] if error.args else None
    causes = (first, getattr(first, "reason", None))
    if any(
        isinstance(cause, NewConnectionError) for cause in causes
    ):  # refused, which some versions call late
        return False
    return isinstance(error, requests.exceptions.Timeout) or any(isinstance(cause, Late) for cause in causes)
