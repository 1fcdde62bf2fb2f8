"""Real heads as another version of the package defaces them, kept for `benchmarks.heads.unmasking_then`.

    PYTHONPATH=CHECKOUT python benchmarks/heads/defaced_then.py DATA --out then [--defacer carina]

CHECKOUT is the version to be compared with; of this file's own version nothing is used. ``NAME.npz`` holds the stored
values after defacing and the plan's exact region, bits packed: version df4550f published that as the NIfTI mask.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def main(arguments: Sequence[str] | None = None) -> None:
    from benchmarks.heads.data import named_heads, scanned
    from defacedask import Head
    from defacedask.defacers import get_defacer
    from defacedask.errors import RefusedError
    from defacedask.volume import geometry_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--defacer", default="carina")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    cut = options.data / "mr_colin27_ch2"
    more = [(cut.name, lambda: scanned(cut))] if cut.exists() else []
    for name, read in [*named_heads(options.data), *more]:
        file = options.out / f"{name}.npz"
        if file.exists():
            continue
        volume = read().load()
        head = Head(volume)
        try:
            head.require()
            plan = get_defacer(options.defacer).plan(head, key=hashlib.sha256(name.encode()).digest())
        except RefusedError as error:
            print(name, "refused:", error, flush=True)
            continue
        region = np.packbits(np.asarray(plan.region(geometry_of(volume)), bool))
        np.savez_compressed(file, values=plan.apply(volume).load().values, region=region)
        print(name, "done", flush=True)


if __name__ == "__main__":
    main()
