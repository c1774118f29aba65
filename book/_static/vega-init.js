// Draw every chart of the page: a <div class="vega-chart" id="…"> and its <script class="vega-spec">.
// The spec was written by lib.core.figures.show_chart; vega, vega-lite and vega-embed are vendored.
(function () {
  "use strict";

  function fail(place, reason) {
    const note = document.createElement("p");
    note.className = "vega-failed";
    note.textContent = "This figure could not be drawn: " + reason;
    place.replaceChildren(note);
    console.error("vega-init:", place.id, reason);
  }

  function draw(source) {
    const place = document.getElementById(source.dataset.for);
    if (!place || place.dataset.drawn) return;
    place.dataset.drawn = "true";
    if (typeof vegaEmbed !== "function") {
      fail(place, "its scripts are missing");
      return;
    }
    vegaEmbed(place, JSON.parse(source.textContent), {
      actions: { export: true, source: false, compiled: false, editor: false },
      renderer: "svg",
    })
      .then(() => place.querySelector("summary")?.setAttribute("aria-label", "Save this figure"))
      .catch((error) => fail(place, String(error)));
  }

  function drawAll() {
    document.querySelectorAll("script.vega-spec").forEach(draw);
  }

  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", drawAll);
  } else {
    drawAll();
  }
})();
