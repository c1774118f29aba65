// One switch for all code of a page; what an address names is opened; what is wide can be reached.
"use strict";
(() => {
  const folded = () => [...document.querySelectorAll("article details.hide")];
  const addSwitch = () => {
    const blocks = folded();
    const title = document.querySelector("article h1");
    if (!title || blocks.length < 2) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "code-switch";
    const show = (open) => {
      blocks.forEach((block) => (block.open = open));
      button.setAttribute("aria-pressed", String(open));
      button.textContent = open ? "Hide all code" : "Show all code";
    };
    button.addEventListener("click", () => show(button.getAttribute("aria-pressed") !== "true"));
    show(false);
    title.after(button);
  };
  // A link to a claim opens its card.
  const openTarget = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const card = target && target.closest("details");
    if (card) card.open = true;
  };
  // What is wider than its place is moved by keys too, not by a finger or a wheel alone.
  const WIDE =
    ".math, mjx-container[display], .cell_output, .output, .pst-scrollable-table-container, " +
    "pre, .figure-drawing, table.claim-pairs, .vega-chart";
  const reachable = () => {
    for (const part of document.querySelectorAll(`article :is(${WIDE})`)) {
      const moves = /auto|scroll/.test(getComputedStyle(part).overflowX);
      if (moves && part.scrollWidth > part.clientWidth) part.tabIndex = 0;
      else part.removeAttribute("tabindex");
    }
  };
  // Cells of a table as a program printed them: 1.614e+06, True, NaN.
  const WORDS = { True: "yes", False: "no", NaN: "–", None: "–" };
  const readable = () => {
    for (const cell of document.querySelectorAll("table.dataframe :is(td, th)")) {
      const text = cell.textContent.trim();
      if (text in WORDS) cell.textContent = WORDS[text];
      else if (/^-?\d(\.\d+)?e[+-]\d\d$/.test(text)) {
        const value = Number(text);
        const [digits, power] = text.split("e");
        if (Math.abs(value) >= 1e-6 && Math.abs(value) < 1e12)
          cell.textContent = value.toLocaleString("en", { maximumSignificantDigits: 4 });
        else cell.innerHTML = `${digits} × 10<sup>${Number(power)}</sup>`;
      }
    }
  };
  // Paper is white.
  const printing = () => {
    const page = document.documentElement;
    let theme = "";
    window.addEventListener("beforeprint", () => {
      theme = page.dataset.theme;
      page.dataset.theme = "light";
    });
    window.addEventListener("afterprint", () => (page.dataset.theme = theme));
  };
  const start = () => {
    addSwitch();
    printing();
    readable();
    // MathJax names its promise when it is loaded, which is before this event.
    window.addEventListener("load", () => {
      Promise.resolve(window.MathJax?.startup?.promise).then(reachable);
      window.addEventListener("resize", reachable);
    });
    openTarget();
    window.addEventListener("hashchange", openTarget);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
