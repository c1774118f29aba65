// The tables of the ledger: filters kept in the address, columns to sort by, counts to follow.
// Without this script the forms stay hidden and the tables are whole.
"use strict";
(() => {
  const VERDICTS = [
    "verdict-holds",
    "verdict-holds-in-direction",
    "verdict-inconclusive",
    "verdict-differs",
    "verdict-contradicted",
    "verdict-not-testable-here",
  ];
  const name = (menu) => menu.closest("label").firstChild.textContent.trim().toLowerCase();

  const filters = (form) => {
    const table = document.getElementById(form.dataset.table);
    const menus = [...form.querySelectorAll("select")];
    const search = form.querySelector("input[type=search]");
    const shown = form.querySelector("output");
    const whole = table.classList.contains("ledger-all");
    // MathJax replaces formulas later, so the text is kept as it was written.
    const rows = [...table.tBodies[0].rows].map((row) => ({
      row,
      text: row.textContent.toLowerCase(),
    }));
    const fields = () => [...menus.map((menu) => [name(menu), menu]), ["text", search]];
    const apply = () => {
      const wanted = menus.map((menu) => menu.value).filter(Boolean);
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const { row, text } of rows) {
        const keep =
          wanted.every((one) => row.classList.contains(one)) &&
          words.every((word) => text.includes(word));
        row.hidden = !keep;
        count += keep;
      }
      shown.textContent = `${count} of ${rows.length} rows`;
      if (!whole) return; // a chapter's page has two tables, and its address stays its own
      const query = new URLSearchParams();
      for (const [key, field] of fields()) if (field.value) query.set(key, field.value);
      const text = query.toString();
      history.replaceState(null, "", (text ? `?${text}` : location.pathname) + location.hash);
    };
    const choose = (query) => {
      for (const [key, field] of fields()) {
        const value = query.get(key) || "";
        const known = field === search || [...field.options].some((one) => one.value === value);
        field.value = known ? value : "";
      }
      apply();
    };
    form.addEventListener("input", apply);
    form.addEventListener("change", apply); // some browsers send no "input" for a menu
    form.addEventListener("submit", (event) => event.preventDefault());
    // A reset event comes before the fields are cleared.
    form.addEventListener("reset", () => setTimeout(apply));
    form.hidden = false;
    if (!whole) return apply();
    const query = new URLSearchParams(location.search);
    // On a phone all chapters at once are too long a page to begin with.
    const narrow = matchMedia("(max-width: 720px)").matches;
    if (narrow && !location.search && !location.hash) query.set("chapter", menus[0].options[1].value);
    choose(query);
    counts(choose, table);
  };

  // A count above the table chooses its rows.
  const counts = (choose, table) => {
    for (const row of document.querySelectorAll("table.ledger-counts tbody tr")) {
      const of = [...row.classList].find((one) => one.startsWith("of-")) || "";
      const by = [...row.classList].find((one) => one.startsWith("by-"));
      [...row.cells].slice(1).forEach((cell, column) => {
        const text = cell.textContent.trim();
        if (!/^\d+$/.test(text)) return;
        const query = new URLSearchParams({ "claim by": by });
        if (of.startsWith("of-in-")) query.set("chapter", of.slice(3));
        if (of.startsWith("of-basis-")) query.set("run on", of.slice(3));
        if (column < VERDICTS.length && column < row.cells.length - 2)
          query.set("verdict", VERDICTS[column]);
        const link = document.createElement("a");
        link.href = `?${query}#${table.id}`;
        link.textContent = text;
        link.addEventListener("click", (event) => {
          event.preventDefault();
          choose(query);
          document.querySelector("form.ledger-filters").scrollIntoView();
        });
        cell.replaceChildren(link);
      });
    }
  };

  // The order that a row has under a head; the order of verdicts is not that of the alphabet.
  const KEYS = {
    Chapter: (row) => Number(row.cells[0].textContent.match(/\d+/)),
    Claim: (row) => row.id,
    "Run on": (row) => row.cells[row.cells.length - 2].textContent,
    Verdict: (row) => VERDICTS.findIndex((one) => row.classList.contains(one)),
  };
  const sorting = (table) => {
    const body = table.tBodies[0];
    const first = [...body.rows];
    for (const head of table.tHead.rows[0].cells) {
      const key = KEYS[head.textContent.trim()];
      if (!key) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent.trim();
      button.addEventListener("click", () => {
        const turn = { ascending: "descending", descending: "none" };
        const order = turn[head.getAttribute("aria-sort")] || "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", order);
        const sign = order === "descending" ? -1 : 1;
        const compare = (a, b) => (key(a) > key(b)) - (key(a) < key(b));
        const rows = order === "none" ? first : [...first].sort((a, b) => sign * compare(a, b));
        body.append(...rows);
      });
      head.replaceChildren(button);
    }
  };

  const start = () => {
    document.querySelectorAll("form.ledger-filters").forEach(filters);
    document.querySelectorAll("table.ledger-table").forEach(sorting);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
