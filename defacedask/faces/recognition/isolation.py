"""Run a method of a picklable object in a child process that stays alive.

`multiprocessing` refuses to start children from Dask's worker processes (they are daemons), so this is a
plain child with a pipe. Parent and child are the same code of the same user; nothing else speaks on the pipe.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import struct
import subprocess
import sys
import threading
from typing import Any

from defacedask.faces.recognition.base import RecogniserError

__all__ = ["call_isolated"]

_lock = threading.Lock()
_child: subprocess.Popen[bytes] | None = None


def call_isolated(target: Any, method: str, *args: Any) -> Any:
    """Call ``target.method(*args)`` in the child; calls of several threads wait for each other.

    Raises
    ------
    RecogniserError
        If the child dies; the next call starts a new one.
    Exception
        Whatever the method raised.
    """
    global _child
    with _lock:
        if _child is not None and _child.poll() is not None:
            _forget_child()
        if _child is None:
            _child = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )
        try:
            _send(_child.stdin, (target, method, args))
            failed, result = _receive(_child.stdout)
        except (OSError, EOFError):
            code = _child.wait()
            _forget_child()
            raise RecogniserError(
                f"the recogniser's process ended unexpectedly (code {code}).",
                "Nothing of this call was kept; run it again.",
            ) from None
    if failed:
        raise result
    return result


def _forget_child() -> None:
    global _child
    if _child is not None:
        for pipe in (_child.stdin, _child.stdout):
            with contextlib.suppress(OSError):  # what was still to be written has no reader any more
                pipe.close()  # type: ignore[union-attr]
    _child = None


def _stop() -> None:
    if _child is not None and _child.poll() is None:
        child = _child
        _forget_child()  # the child ends at the end of its input
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()


def _forget() -> None:
    # A forked process must not talk on its parent's pipe.
    global _child, _lock
    _child, _lock = None, threading.Lock()


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _send(pipe: Any, thing: Any) -> None:
    data = pickle.dumps(thing, protocol=5)
    pipe.write(struct.pack("<Q", len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: Any) -> Any:
    head = pipe.read(8)
    if len(head) < 8:
        raise EOFError
    (length,) = struct.unpack("<Q", head)
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)


def _serve() -> None:
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get into the pipe
    while True:
        try:
            target, method, args = _receive(source)
        except EOFError:
            return
        try:
            answer = (False, getattr(target, method)(*args))
        except Exception as error:
            answer = (True, error)
        _send(sink, answer)


if __name__ == "__main__":
    _serve()
