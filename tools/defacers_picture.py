"""Compose README's picture from a run on virtual patients.

    uv run defacedask demo --out demo && uv run python tools/defacers_picture.py demo docs/defacers.png

Never run it on pictures of real persons: what it writes is committed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

COLUMNS = ("original", "quickshear", "biometric_mask", "mri_reface", "carina")
ROWS = ("front", "45 degrees", "side", "mid-sagittal")
SIZE, HEAD = 220, 26


def compose(out: Path, modality: str, patient: str) -> Image.Image:
    """One column a defacer, one row a view, of one virtual patient.

    Parameters
    ----------
    out : Path
        Folder of a run.
    modality : str
    patient : str
        PatientID; must be that of a virtual patient.
    """
    if not patient.startswith("VP-"):
        raise SystemExit(f"{patient} is not a virtual patient.")
    index = json.loads((out / "pictures" / "index.json").read_text(encoding="utf-8"))
    files = {
        (p["defacer"], p["view"]): out / "pictures" / p["file"]
        for p in index
        if p["modality"] == modality and p["patient"] == patient
    }
    sheet = Image.new("RGB", (SIZE * len(COLUMNS), HEAD + SIZE * len(ROWS)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for column, name in enumerate(COLUMNS):
        pen.text((column * SIZE + SIZE / 2, HEAD / 2), name, fill="black", anchor="mm", font=font)
        for row, view in enumerate(ROWS):
            picture = (
                Image.open(files[name, view]).convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
            )
            sheet.paste(picture, (column * SIZE, HEAD + row * SIZE))
    return sheet


def main() -> None:
    """Read the arguments and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("out", type=Path, help="folder of a run on virtual patients")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--modality", default="CT")
    parser.add_argument("--patient", default="VP-0001")
    options = parser.parse_args()
    sheet = compose(options.out, options.modality, options.patient)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(128).save(options.picture, optimize=True)


if __name__ == "__main__":
    main()
