// Draws a run's history while it grows: reads the CSV that training leaves after every epoch through Jupyter's own file endpoint.
(function () {
  "use strict";
  const panel = document.getElementById("PANEL_ID");
  if (!panel) return;
  // Of each curve, its colour on a light page and on a dark one.
  const SERIES = "SERIES";
  const POLL_MS = 1000;
  const QUIET_MS = 15 * 60 * 1000;
  const { here, history, started, epochs: begun } = JSON.parse(panel.dataset.run);
  // A run with a time budget corrects the number it began with, and one that gets no better ends before it.
  let epochs = begun;
  const words = panel.querySelector("[data-words]");
  const picture = panel.querySelector("[data-picture]");

KERNEL_FOLDER

  // The history as an array of rows, [] before this run's first epoch.
  async function read({ folder, read }) {
    const answer = await read(`${folder}/${history}`).catch(() => null);
    if (!answer || !answer.ok) return [];
    const changed = Date.parse(answer.headers.get("last-modified") || "");
    // An older run of this name left the file; a run that goes on adds to it at its next epoch.
    if (changed + 1000 < started) return [];
    const [names, ...rows] = (await answer.text()).trim().split("\n").map((line) => line.trim().split(","));
    return rows.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i] === "" ? null : Number(row[i])])));
  }

  function element(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // Round numbers, about `count` steps of 1, 2 or 5 · 10ⁿ, from at or below `low` to at or above `high`.
  function rounded(low, high, count) {
    const least = Math.max(high - low, 1e-3) / count;
    const power = Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map((digit) => digit * 10 ** power).find((step) => step >= least * 0.999);
    const [first, last] = [Math.floor(low / step + 1e-6), Math.ceil(Math.max(high, low + step) / step - 1e-6)];
    // As many digits as the step has: 3 · 0.1 is 0.30000000000000004.
    return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toFixed(Math.max(0, -power))));
  }

  // One chart over epochs; `curves` are [name, values], a value null where there is none.
  function chart(title, unit, curves) {
    const [width, height, left, top, right, bottom] = [420, 230, 52, 40, 396, 190];
    // Room for as many epochs again: in a long run its first epochs are not a stroke at the edge.
    const span = Math.min(epochs, Math.max(10, 2 * curves[0][1].length));
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title} over epochs` });
    svg.setAttribute("class", "tinyast");
    svg.style.cssText = "max-width:100%;height:auto;font:12px sans-serif;fill:currentColor";
    const values = curves.flatMap(([, points]) => points).filter((value) => value !== null);
    const ticks = rounded(Math.min(...values, 0), Math.max(...values), 4);
    const [low, high] = [ticks[0], ticks[ticks.length - 1]];
    const x = (epoch) => left + ((right - left) * (epoch - 0.5)) / span;
    const y = (value) => bottom - ((bottom - top) * (value - low)) / (high - low);
    svg.append(element("text", { x: left, y: 14, "font-weight": "bold" }, `${title} (${unit})`));
    for (const value of ticks) {
      svg.append(element("line", { x1: left, x2: right, y1: y(value), y2: y(value), stroke: "currentColor", "stroke-opacity": 0.25 }));
      svg.append(element("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, value));
    }
    for (const epoch of rounded(0, span, 5).map((epoch) => Math.max(epoch, 1)).filter((epoch) => Number.isInteger(epoch) && epoch <= span)) {
      svg.append(element("text", { x: x(epoch), y: bottom + 17, "text-anchor": "middle" }, epoch));
    }
    svg.append(element("text", { x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle" }, "epoch"));
    let at = left;
    curves.forEach(([name, points], i) => {
      const [light, dark] = SERIES[i];
      const colored = (name, attributes) => {
        const made = element(name, attributes);
        made.style.color = light;
        // Not known to older browsers, which keep the one above.
        made.style.color = `light-dark(${light}, ${dark})`;
        return made;
      };
      const drawn = points.map((value, epoch) => (value === null ? null : `${x(epoch + 1)},${y(value)}`)).filter(Boolean);
      if (drawn.length === 0) return;
      svg.append(colored("polyline", { points: drawn.join(" "), fill: "none", stroke: "currentColor", "stroke-width": 2 }));
      const [cx, cy] = drawn[drawn.length - 1].split(",");
      svg.append(colored("circle", { cx, cy, r: 3, fill: "currentColor" }));
      svg.append(colored("line", { x1: at, x2: at + 16, y1: 28, y2: 28, stroke: "currentColor", "stroke-width": 2 }));
      svg.append(element("text", { x: at + 20, y: 32 }, name));
      at += 110;
    });
    return svg;
  }

  function draw(rows) {
    const column = (name, scale) => rows.map((row) => (row[name] === null ? null : scale * row[name]));
    picture.replaceChildren(
      chart("loss", "nats", [["training", column("train_loss", 1)], ["validation", column("validation_loss", 1)]]),
      chart("accuracy", "% of clips", [["training", column("train_accuracy", 100)], ["validation", column("validation_accuracy", 100)]]),
    );
    panel.dataset.epoch = rows.length;
  }

  function tell(rows) {
    const last = rows[rows.length - 1];
    const left = (last.elapsed_s / last.epoch) * (epochs - last.epoch);
    const rate = `${last.clips_per_s.toFixed(0)} clips/s`;
    return last.epoch >= epochs
      ? `finished: ${epochs} epochs, loss ${last.train_loss.toFixed(3)}, ${rate}`
      : `epoch ${last.epoch} of ${epochs}, loss ${last.train_loss.toFixed(3)}, ${rate}, ${left.toFixed(0)} s left`;
  }

  let [seen, news] = [-1, Date.now()];
  async function poll(place) {
    // The cell was run again, or its output cleared.
    if (!panel.isConnected) return;
    const rows = await read(place);
    if (rows.length !== seen) {
      [seen, news] = [rows.length, Date.now()];
      if (rows.length > 0) epochs = rows[rows.length - 1].planned || begun;
      if (rows.length > 0) draw(rows);
    }
    const quiet = Date.now() - news;
    const wait = quiet > 20000 ? ` (no news for ${(quiet / 1000).toFixed(0)} s: a long epoch, or the run was stopped)` : "";
    words.textContent = (rows.length > 0 ? tell(rows) : "the first epoch is under way") + wait;
    if (rows.length < epochs && quiet < QUIET_MS) setTimeout(poll, POLL_MS, place);
  }
  kernelFolder(here).then(poll, (error) => (words.textContent = `A picture of the moment the cell was run. ${error.message}`));
})();
