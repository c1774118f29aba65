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
    "pre, .figure-drawing, table.claim-pairs";
  const reachable = () => {
    for (const part of document.querySelectorAll(`article :is(${WIDE})`)) {
      const moves = /auto|scroll/.test(getComputedStyle(part).overflowX);
      if (moves && part.scrollWidth > part.clientWidth) part.tabIndex = 0;
      else part.removeAttribute("tabindex");
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
