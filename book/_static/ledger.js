// Filters above the tables of the ledger. Without this script the forms stay hidden.
"use strict";
(() => {
  const prepare = (form) => {
    const table = document.getElementById(form.dataset.table);
    const menus = [...form.querySelectorAll("select")];
    const search = form.querySelector("input[type=search]");
    const shown = form.querySelector("output");
    // MathJax replaces formulas later, so the text is kept as it was written.
    const rows = [...table.tBodies[0].rows].map((row) => ({
      row,
      text: row.textContent.toLowerCase(),
    }));
    const apply = () => {
      const wanted = menus.map((menu) => menu.value).filter(Boolean);
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const { row, text } of rows) {
        const keep =
          wanted.every((name) => row.classList.contains(name)) &&
          words.every((word) => text.includes(word));
        row.hidden = !keep;
        count += keep;
      }
      shown.textContent = `${count} of ${rows.length} rows`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("change", apply); // some browsers send no "input" for a menu
    form.addEventListener("submit", (event) => event.preventDefault());
    // A reset event comes before the fields are cleared.
    form.addEventListener("reset", () => setTimeout(apply));
    form.hidden = false;
    apply();
  };
  const start = () => document.querySelectorAll("form.ledger-filters").forEach(prepare);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
