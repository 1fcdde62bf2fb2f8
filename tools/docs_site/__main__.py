"""``python -m tools.docs_site OUT`` builds the site in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.docs_site.build import build

try:
    build(Path(sys.argv[1] if len(sys.argv) > 1 else "site"))
except subprocess.CalledProcessError as error:
    sys.exit(error.returncode)
