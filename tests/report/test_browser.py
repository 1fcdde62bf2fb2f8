"""The page in a real browser: sorting, the switch for pictures, no error, nothing fetched."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from support.synthetic_run import MANY_ATTACKS, MANY_DEFACERS, MANY_RECOGNISERS, make_run

from defacedask.report import write_report

PROBE = """
<script>
addEventListener("load", () => {
  const said = [];
  const column = (id, n) => [...document.querySelectorAll(`#${id} tbody tr`)].map((r) => r.cells[n].dataset.k);
  const press = (id, n) => document.querySelectorAll(`#${id} thead button`)[n].click();
  const heads = (id) => [...document.querySelectorAll(`#${id} thead th`)].map((h) => h.ariaSort || "");
  press("percent-mean-quickshear", 4);
  said.push(["down", column("percent-mean-quickshear", 4), heads("percent-mean-quickshear")[4]]);
  press("percent-mean-quickshear", 4);
  said.push(["up", column("percent-mean-quickshear", 4), heads("percent-mean-quickshear")[4]]);
  press("cases", 5);
  press("cases", 5);
  said.push(["missing", column("cases", 5), heads("cases").filter((h) => h).length]);
  const shown = () => document.querySelectorAll("#pictures-here img").length;
  const toggle = document.getElementById("show-pictures");
  said.push(["off", shown(), toggle.checked]);
  toggle.click();
  said.push(["on", shown(), document.querySelector("#pictures-here img").src.slice(0, 15)]);
  const strips = [...document.querySelectorAll("#pictures-here .strip")];
  const whole = strips.every((s) => s.scrollWidth <= s.clientWidth + 1);
  said.push(["in view", whole, Math.max(...strips.map((s) => s.children.length))]);
  toggle.click();
  said.push(["off again", shown()]);
  const visible = (id) => document.getElementById(id).offsetParent !== null;
  said.push(["views", visible("percent-mean-quickshear"), visible("percent-median-quickshear")]);
  document.getElementById("median-2").click();
  said.push(["views", visible("percent-mean-quickshear"), visible("percent-median-quickshear")]);
  said.push(["wider", document.documentElement.scrollWidth > innerWidth]);
  said.push(["ready", document.documentElement.dataset.ready]);
  const out = document.createElement("pre");
  out.id = "probe";
  out.textContent = JSON.stringify(said);
  document.body.append(out);
});
</script></body>"""


@pytest.fixture(scope="module")
def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is installed")
    return found


def drive(browser, tmp_path, *options):
    quiet = "gpu quic background-networking component-update sync".split()  # noqa: SIM905
    flags = ["--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
    command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["1280,1000", "500,900"])
def test_the_page_works(browser, run, tmp_path, size):
    import json

    html = (run / "report" / "index.html").read_text()
    probed = tmp_path / "probed.html"
    probed.write_text(html.replace("</body>", PROBE))
    done = drive(
        browser, tmp_path, f"--window-size={size}", "--enable-logging=stderr", "--dump-dom", probed.as_uri()
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    said = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    down, up, missing, off, on, seen, again, first, second, wider, ready = json.loads(said[1])
    numbers = [float(k) for k in down[1]]
    assert numbers == sorted(numbers, reverse=True)
    assert (down[2], up[2]) == ("descending", "ascending")
    assert [float(k) for k in up[1]] == sorted(numbers)
    known = [k for k in missing[1] if k]
    assert known
    assert missing[1] == sorted(known, key=float) + [""] * (len(missing[1]) - len(known))
    assert missing[2] == 1
    assert off[1:] == [0, False]
    assert on[1:] == [20, "data:image/jpeg"]
    assert seen[2] == 5  # the original and four defacers, side by side
    assert seen[1] or size != "1280,1000"
    assert again[1] == 0
    assert (first[1:], second[1:]) == ([True, False], [False, True])
    assert wider[1] is False  # wide tables scroll in their own box
    assert ready[1] == "yes"


@pytest.mark.slow
def test_the_page_prints_its_summary_and_the_annex_only_if_asked(browser, run, tmp_path):
    page = (run / "report" / "index.html").as_uri()
    summary, whole = (printed(browser, tmp_path, page + end) for end in ("", "#annex"))
    assert 4 <= summary < 12
    assert whole > summary


@pytest.mark.slow
def test_a_large_study_prints_on_few_pages_too(browser, tmp_path):
    folder = tmp_path / "many"
    make_run(
        folder,
        n=12,
        modalities=("CT", "MR"),
        defacers=MANY_DEFACERS,
        attacks=MANY_ATTACKS,
        recognisers=MANY_RECOGNISERS,
    )
    assert printed(browser, tmp_path, write_report(folder).as_uri()) < 12


def printed(browser, tmp_path, address):
    """Pages of the printed page."""
    target = tmp_path / "page.pdf"
    drive(browser, tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={target}", address)
    data = target.read_bytes()
    assert data.startswith(b"%PDF")
    return len(re.findall(rb"/Type /Page\b", data))
