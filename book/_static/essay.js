// Notebook pages: one switch for all code, and what an address names is opened.
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
  const start = () => {
    addSwitch();
    openTarget();
    window.addEventListener("hashchange", openTarget);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
