"""The Dockerfile without an engine: what it says, and its steps in a scratch folder in place of an image.

Left out are the steps that need Debian in the image (apt-get, useradd). uv stands in for ``pip install``, so that
nothing is fetched or unpacked again; bytecode is not compiled.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.deploy_kit import DEPLOY

import defacedask
from defacedask.cluster.specs import ONE_THREAD

ROOT = DEPLOY.parent
TEXT = (DEPLOY / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions():
    """(stage, instruction, rest); lines that go on are joined, comments are gone."""
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    stage = -1
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            stage += name == "FROM"
            yield stage, name, rest.strip()


def only(name):
    return [rest for _, one, rest in instructions() if one == name]


def test_bases_and_tags_are_fixed():
    assert {name.split()[0] for name in only("FROM")} == {"python:3.11-slim-bookworm"}
    assert "latest" not in TEXT
    tags = re.findall(r"-t defacedask:(\S+)", TEXT)
    assert tags == [defacedask.__version__, f"{defacedask.__version__}-gpu"]


def test_what_is_copied_is_there():
    for rest in only("COPY"):
        if not rest.startswith("--from="):
            *sources, _ = rest.split()
            for source in sources:
                assert (ROOT / source).exists(), source
                listed = ["git", "ls-files", "--error-unmatch", source]
                assert subprocess.run(listed, cwd=ROOT, capture_output=True).returncode == 0, source


def test_the_image_has_one_thread_no_root_and_parts_that_exist():
    variables = dict(pair.split("=", 1) for rest in only("ENV") for pair in rest.split())
    assert ONE_THREAD.items() <= variables.items()
    [user] = only("USER")
    assert int(user) == 1000
    [entry] = only("ENTRYPOINT")
    assert "tini" in entry
    assert any("apt-get" in rest and "tini" in rest for rest in only("RUN"))
    extras = {name for found in re.findall(r"EXTRAS=(\S+)", TEXT) for name in found.split(",")}
    assert {"gpu", "kubernetes", "s3"} <= extras <= set(PROJECT["project"]["optional-dependencies"])


def test_the_gpu_part_brings_cuda():
    [cupy] = PROJECT["project"]["optional-dependencies"]["gpu"]
    assert cupy.startswith("cupy-cuda12x[ctk]")
    for name in ("cupy-cuda12x", "cupy-cuda13x"):
        [own] = PROJECT["project"]["optional-dependencies"][name]
        assert own.startswith(f"{name}>=")


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the image has Python 3.11")
@pytest.mark.skipif(not shutil.which("uv"), reason="uv makes the environments that stand for the image")
def test_its_steps_make_an_environment_that_works(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PIP_NO_COMPILE"] = "0"  # is no: of what the first stage installs hardly anything is imported
    left_out, stages = [], {}
    for stage, name, rest in instructions():
        env = tmp_path / f"python{stage}"
        if name == "FROM":
            subprocess.run(["uv", "venv", "-q", "--seed", "--python", sys.executable, str(env)], check=True)
            stages[stage] = {"PATH": f"{env}/bin:{environment['PATH']}", "VIRTUAL_ENV": str(env)}
            work = tmp_path
        elif name == "WORKDIR":
            work = tmp_path / rest.lstrip("/")
            work.mkdir(parents=True, exist_ok=True)
        elif name == "ARG":
            key, _, value = rest.partition("=")
            stages[stage][key] = value
        elif name == "COPY" and not rest.startswith("--from="):
            *sources, target = rest.split()
            for source in sources:
                whole = target.endswith("/") or target == "."
                place = work / target / Path(source).name if whole else work / target
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / source, place)
        elif name == "RUN" and re.match(r"apt-get |useradd ", rest):
            left_out.append(rest.split()[0])
        elif name == "RUN":
            # the image's folders are in the scratch folder
            step = re.sub(r"(?<![\w.])/(wheels|src)\b", rf"{tmp_path}/\1", rest).replace(
                " --no-cache-dir", ""
            )
            step = step.replace("pip install", "uv pip install -q").replace(" --compile", "")
            subprocess.run(["sh", "-ec", step], cwd=work, env={**environment, **stages[stage]}, check=True)
    assert sorted(left_out) == ["apt-get", "apt-get", "useradd"]
    final = {**environment, **stages[max(stages)]}
    for command in (
        "defacedask --help",
        "dask scheduler --help",
        "dask worker --help",
        "python -c 'import dask_kubernetes, radiomics, s3fs, defacedask.cluster'",
    ):
        subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=final, check=True, stdout=subprocess.DEVNULL)
    where = ["python", "-c", "import defacedask; print(defacedask.__file__)"]
    said = subprocess.run(where, cwd=tmp_path, env=final, check=True, capture_output=True, text=True).stdout
    assert said.startswith(str(tmp_path)), "the package is the one that was built"
    shutil.rmtree(tmp_path)  # large, and only a success is of no more interest
