"""One run at a time at an address: a second one is refused, and a dead one holds it for a few minutes at most.

An object store has no locks that end with a process. Each run puts an object with the next number, which only one can
do, and puts it again from time to time. One that was not put again for long is given up, and the next run puts the
number after it. All times are those of the service's own clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from defacedask.errors import ConfigError, DefacedaskError, OutputError
from defacedask.io.remote.objects import Objects

__all__ = ["LEASE", "Lease"]

#: Seconds without a sign of life after which a run is taken for dead.
LEASE = 120.0
_FOLDER = "lease"


class Lease:
    """The hold of one run.

    Parameters
    ----------
    objects : Objects
        Below the run's address.
    seconds : float
        After which a silent run is dead.

    Attributes
    ----------
    number : int
        Of this run: larger than those of all before it.
    """

    def __init__(self, objects: Objects, seconds: float = LEASE) -> None:
        self.objects, self.seconds = objects, seconds
        self.number = 0
        self._who = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "boot": _boot(),
            "nonce": secrets.token_hex(8),
        }
        self._lost = ""
        self._ended = threading.Event()

    @contextlib.contextmanager
    def held(self) -> Iterator[Lease]:
        """Hold the address while the block runs.

        Raises
        ------
        ConfigError
            If another run holds it.
        RemoteError
        """
        self._take()
        beat = threading.Thread(target=self._beat, name="defacedask-lease", daemon=True)
        beat.start()
        try:
            yield self
        finally:
            self._ended.set()
            beat.join()
            # where it cannot be said, it is dead in a while
            with contextlib.suppress(DefacedaskError):
                if not self._lost:
                    self._put(released=True)

    def require(self) -> None:
        """See that it still is ours.

        Raises
        ------
        OutputError
            If another run has taken it for dead, and goes on in its place.
        """
        if self._lost:
            raise OutputError(self._lost, "What was finished stays; let the other run end.", fatal=True)

    def _take(self) -> None:
        numbers = self._numbers()
        last = numbers[-1] if numbers else 0
        if last and (why := self._alive(last)):
            raise ConfigError(
                f"another run is at work at {self.objects.address} ({why}).",
                "Wait until it has finished, or choose another --work.",
            )
        self.number = last + 1
        if not self.objects.create(_name(self.number), self._content(released=False)):
            raise ConfigError(
                f"another run has just begun at {self.objects.address}.",
                "Wait until it has finished, or choose another --work.",
            )
        self.objects.remove(_name(number) for number in numbers)

    def _alive(self, number: int) -> str:
        """Who holds a number, and since when nothing was heard; empty if nobody does."""
        text = self.objects.read(_name(number))
        try:
            who = json.loads(text or b"{}")
        except ValueError:
            who = {}
        if not who or who.get("released") or _gone(who):
            return ""
        put = self.objects.changed(_name(number))
        # this one's own clock may be wrong: the service says what time it is
        clock = f"{_FOLDER}/clock-{self._who['nonce']}"
        self.objects.write(clock, b"")
        now = self.objects.changed(clock)
        self.objects.remove([clock])
        silent = (now or 0.0) - (put or 0.0)
        if silent > self.seconds:
            return ""
        return (
            f"process {who.get('process')} on {who.get('host')}, last heard of {silent:.0f} s ago; "
            f"if it is dead, the address is free in {self.seconds - silent:.0f} s"
        )

    def _numbers(self) -> list[int]:
        found = (name.rsplit("/", 1)[-1] for name in self.objects.names(_FOLDER))
        return sorted(int(name) for name in found if name.isdigit())

    def _content(self, *, released: bool) -> bytes:
        return json.dumps({**self._who, "released": released}).encode()

    def _put(self, *, released: bool) -> None:
        # the object of this number is nobody else's
        self.objects.write(_name(self.number), self._content(released=released))

    def _beat(self) -> None:
        while not self._ended.wait(self.seconds / 6):
            # a service that is away for a while is no end: nobody else can take the address either
            with contextlib.suppress(DefacedaskError):
                self.renew()

    def renew(self) -> None:
        """Give a sign of life; see whether another run has gone on in our place."""
        later = [number for number in self._numbers() if number > self.number]
        if later:
            self._lost = (
                f"this run was not heard of for {self.seconds:.0f} s, and another one goes on at "
                f"{self.objects.address} in its place."
            )
            self._ended.set()
            return
        self._put(released=False)


def _name(number: int) -> str:
    return f"{_FOLDER}/{number:08d}"


def _boot() -> str:
    """What tells one start of this machine, or container, from another; empty where nothing does."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _gone(who: dict[str, object]) -> bool:
    """Whether a process was one of this machine, and is there no more."""
    if not who.get("boot") or (who.get("host"), who["boot"]) != (socket.gethostname(), _boot()):
        return False
    try:
        os.kill(int(str(who.get("process"))), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False
