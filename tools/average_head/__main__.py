"""Make the built-in average head from the MIT-licensed average T1 of pydeface.

    python -m tools.average_head FOLDER [--out defacedask/data]

FOLDER holds `mean_reg2mean.nii.gz`, `facemask.nii.gz` and `LICENSE` of the PyPI package pydeface. Nothing else
goes in. The same input gives the same bytes out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from defacedask.anatomy.template_folder import write_nifti
from tools.average_head.images import HU, T1, ct_image, t1_image
from tools.average_head.regions import REGIONS, STRUCTURES, landmarks, region_map, structure_bits
from tools.average_head.skin import skin_distance
from tools.average_head.source import GRID, grid_positions, read_ras, sample, symmetric_average
from tools.average_head.tissue import TISSUES, tissue_map


def main() -> None:
    """Derive and write everything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("defacedask/data"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    t1, alignment = symmetric_average(options.folder)
    skin = skin_distance(t1)
    tissue, skull = tissue_map(t1, skin)
    points = grid_positions(GRID)
    # the published mask is 1 where the brain side stays, 0 where the face goes
    kept, affine = read_ras(options.folder / "facemask.nii.gz")
    facemask = (sample(1 - kept, affine, points) > 0.5) & (points[..., 2] > -120)
    facemask &= facemask[:, :, ::-1]
    regions = region_map(points, skin, skull, facemask)
    made = {
        "average_t1": (t1_image(t1, tissue, skin), "T1"),
        "average_ct": (ct_image(tissue, skin, skull), "CT, HU"),
        "tissue": (tissue, "tissue labels"),
        "labels": (regions, "region labels"),
        "structures": (structure_bits(points, tissue, skull), "structures, one bit each"),
        "skin": (
            np.rint(np.clip(skin, -12, 12) * 10).astype(np.int8),
            "signed distance to the skin, 1/10 mm, negative inside",
        ),
    }
    files = {
        name: write_nifti(options.out / f"{name}.nii.gz", array, GRID, description=description, level=9)
        for name, (array, description) in made.items()
    }
    facts = {
        "source": "mean_reg2mean.nii.gz and facemask.nii.gz of pydeface (MIT licence)",
        "source_sha256": {
            name: hashlib.sha256((options.folder / name).read_bytes()).hexdigest()
            for name in ("mean_reg2mean.nii.gz", "facemask.nii.gz")
        },
        "alignment": alignment,
        "tissues": TISSUES,
        "regions": REGIONS,
        "structures": list(STRUCTURES),
        "hounsfield": HU,
        "t1": T1,
        "landmarks": landmarks(skin),
        "sha256": files,
    }
    (options.out / "average_head.json").write_text(json.dumps(facts, indent=1) + "\n")
    shutil.copyfile(options.folder / "LICENSE", options.out / "LICENSE.pydeface")
    print(json.dumps(facts["landmarks"]))


if __name__ == "__main__":
    main()
