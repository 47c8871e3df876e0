"use strict";
(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);

  function withImages(spec) {
    for (const rows of Object.values(spec.datasets ?? {})) {
      for (const row of rows) {
        if (data.images && row.index in data.images) row.image = data.images[row.index];
      }
    }
    return spec;
  }

  function draw() {
    const options = { renderer: "svg", actions: false };
    for (const [id, spec] of Object.entries(data.charts)) {
      const place = document.getElementById(id);
      if (place.clientWidth < 480) spec.config.legend.columns = 2;
      vegaEmbed(place, withImages(spec), options).catch((error) => {
        place.textContent = `This chart cannot be drawn: ${error.message}`;
      });
    }
  }

  function fillTable(table) {
    for (const image of table.querySelectorAll("img[data-index]")) {
      image.src = data.images[image.dataset.index];
    }
  }

  function sortBy(table, header) {
    const column = header.cellIndex;
    const way = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const key = (row) => {
      const cell = row.cells[column];
      return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
    };
    const order = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
    const rows = [...table.tBodies[0].rows].sort((a, b) => way * order(key(a), key(b)));
    table.tBodies[0].append(...rows);
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
  }

  function search(table, wanted) {
    let found = 0;
    for (const row of table.tBodies[0].rows) {
      const text = [...row.querySelectorAll("td.id")].map((cell) => cell.textContent).join("\n");
      row.hidden = !text.toLowerCase().includes(wanted.toLowerCase());
      found += row.hidden ? 0 : 1;
    }
    document.getElementById("found").textContent = wanted ? `${found} found` : "";
  }

  // A spreadsheet would run text that starts like a formula; csv_files.py has the same patterns.
  const formula = /^'*[=+\-@\t\r]/;
  const numeral = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/;

  function csvCell(value) {
    if (value === null) return "";
    if (typeof value === "number") return String(value);
    const text = formula.test(value) && !numeral.test(value) ? `'${value}` : value;
    return `"${text.replaceAll('"', '""')}"`;
  }

  function download(name) {
    const lines = [data.columns, ...data.rows].map((row) => row.map(csvCell).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function showAsScored(boxes, all) {
    document.body.classList.toggle("all-as-scored", all);
    for (const box of boxes) box.checked = all;
  }

  draw();
  const boxes = document.querySelectorAll("input.as-scored");
  for (const box of boxes) box.addEventListener("change", () => showAsScored(boxes, box.checked));
  const table = document.getElementById("table");
  if (table) {
    fillTable(table);
    document.querySelector(".tools").hidden = false;
    for (const header of table.tHead.rows[0].cells) {
      header.querySelector("button")?.addEventListener("click", () => sortBy(table, header));
    }
    document.getElementById("search").addEventListener("input", (event) => search(table, event.target.value));
    const button = document.getElementById("download");
    button.addEventListener("click", () => download(button.dataset.name));
  }
})();
