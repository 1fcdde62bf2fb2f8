"use strict";
(() => {
  const key = (row, column) => row.cells[column].dataset.k;
  const compare = (a, b) => {
    if (a === "" || b === "") return 0;
    const x = Number(a), y = Number(b);
    if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    return a.localeCompare(b, "en", { numeric: true });
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const was = head.getAttribute("aria-sort");
        const numeric = head.classList.contains("n");
        const next = was === "ascending" ? "descending" : was === "descending" ? "ascending" : numeric ? "descending" : "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", next);
        const sign = next === "ascending" ? 1 : -1;
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row, index) => ({ row, index, k: key(row, column) }));
        rows.sort((a, b) => {
          if ((a.k === "") !== (b.k === "")) return a.k === "" ? 1 : -1; // what is missing stays last
          return sign * compare(a.k, b.k) || a.index - b.index;
        });
        body.append(...rows.map((entry) => entry.row));
      });
    });
  }
  const toggle = document.getElementById("show-pictures");
  if (toggle) {
    toggle.checked = false; // off at every load, whatever the browser remembered
    const place = document.getElementById("pictures-here");
    toggle.addEventListener("change", () => {
      place.replaceChildren();
      if (toggle.checked) place.append(document.getElementById("pictures-kept").content.cloneNode(true));
    });
  }
  const annex = document.getElementById("print-annex");
  annex.checked = location.hash === "#annex"; // so that a program can ask for it, too
  addEventListener("beforeprint", () => annex.checked && document.querySelectorAll("details").forEach((d) => {
    d.dataset.was = d.open ? "1" : "";
    d.open = true;
  }));
  addEventListener("afterprint", () => annex.checked && document.querySelectorAll("details").forEach((d) => { d.open = d.dataset.was === "1"; }));
  document.documentElement.dataset.ready = "yes";
})();
