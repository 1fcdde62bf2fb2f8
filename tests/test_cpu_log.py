"""What a test costs is counted with the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from support.cpu_log import cpu_seconds

BUSY = """
import time
while time.process_time() < {seconds}: pass
print("done", flush=True)
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's alone")


def test_work_of_this_process_and_of_others_is_told_apart():
    own, others = cpu_seconds(os.getpid())
    begun = time.process_time()
    while time.process_time() - begun < 0.1:
        pass
    assert cpu_seconds(os.getpid())[0] - own >= 0.08
    # one that lives, and one below it that was waited for
    inner = f"subprocess.run([sys.executable, '-S', '-c', {BUSY.format(seconds=0.2)!r}])"
    code = f"import subprocess, sys; {inner}; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as living:
        assert living.stdout.readline() == "done\n"
        deadline = time.monotonic() + 60
        while cpu_seconds(os.getpid())[1] - others < 0.195 and time.monotonic() < deadline:
            time.sleep(0.01)
        alive = cpu_seconds(os.getpid())[1] - others
        living.stdin.close()
    assert alive >= 0.195  # ticks are hundredths, and floats
    assert cpu_seconds(os.getpid())[1] - others >= alive  # nothing is forgotten when it ends
