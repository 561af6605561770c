// The model explorer: shows what the page has computed, and computes nothing but lengths of bars.
"use strict";

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function explore(place, data) {
  const byKey = new Map(data.released.map(shown => [shown.key, shown]));
  const base = data.released[0];
  const last = data.curve.length - 1;
  const perPhi = Math.round(last / data.curve[last].phi);

  // -------------------------------------------------------------- what is on the page

  const buttons = data.released.map(shown =>
    element("button", { type: "button", value: shown.key, textContent: shown.name }));
  const presets = element("div", { className: "switch explorer-released" }, ...buttons);
  presets.setAttribute("role", "group");
  presets.setAttribute("aria-label", "Released networks");
  const slider = element("input", {
    type: "range", id: "explorer-phi", min: 0, max: last, step: 1, value: 0,
  });
  const value = element("output", { htmlFor: "explorer-phi" });
  const controls = element("div", { className: "explorer-controls" }, presets,
    element("div", { className: "explorer-slider" },
      element("label", { htmlFor: "explorer-phi", textContent: "φ" }), slider, value));
  slider.setAttribute("aria-label", "Compound coefficient phi");

  const cards = element("div", { className: "explorer-cards" });
  const note = element("p", { className: "explorer-note" });
  note.setAttribute("aria-live", "polite");

  const table = place.querySelector("table");
  const body = table.tBodies[0];
  const shares = element("input", { type: "checkbox", id: "explorer-shares" });
  const bars = element("div", { className: "explorer-bars" });
  bars.setAttribute("aria-hidden", "true"); // the table says the same
  const legend = element("p", { className: "explorer-legend" },
    element("span", { className: "explorer-params", textContent: "Params" }),
    element("label", {}, shares, " share of the network"),
    element("span", { className: "explorer-macs", textContent: "MACs" }));
  const coloured = element("span", {},
    element("b", { textContent: "Coloured" }), `: not as in ${base.name}. `);
  const remark = element("p", { className: "explorer-remark" },
    coloured, "Resolution is that of a stage's input.");
  const panes = element("div", { className: "explorer-panes" });
  place.prepend(controls, cards, note);
  const frame = table.closest(".table-wrapper") ?? table;
  frame.replaceWith(panes);
  panes.append(element("div", { className: "explorer-pane" }, frame, remark),
    element("div", { className: "explorer-pane" }, legend, bars));

  // -------------------------------------------------------------- one network

  let shown = base;

  function showTable() {
    const fixed = data.families[shown.family];
    const compared = shown.family === base.family;
    coloured.hidden = !compared;
    body.replaceChildren(...shown.rows.map((row, index) => {
      const cells = [...fixed[index], ...row.slice(0, 5)];
      const line = element("tr", {}, ...cells.map((text, column) => {
        const changed = compared && column >= 2 && column < 5 && base.rows[index][column - 2] !== text;
        return element("td", { className: changed ? "changed" : "" },
          element("p", { textContent: text }));
      }));
      line.dataset.stage = fixed[index][0];
      line.cells[5].title = row[5].toLocaleString("en");
      line.cells[6].title = row[6].toLocaleString("en");
      return line;
    }));
  }

  function showBars() {
    const fixed = data.families[shown.family];
    const columns = [5, 6].map(column => shown.rows.map(row => row[column]));
    const sums = columns.map(numbers => numbers.reduce((sum, number) => sum + number, 0));
    const most = columns.map(numbers => Math.max(...numbers));
    bars.replaceChildren(...shown.rows.map((row, index) => {
      const sides = [0, 1].map(side => {
        const bar = element("i");
        bar.style.width = `${(70 * columns[side][index] / most[side]).toFixed(2)}%`;
        const share = `${(100 * columns[side][index] / sums[side]).toFixed(1)} %`;
        const text = element("span", { textContent: shares.checked ? share : row[3 + side] });
        return element("div", { className: side ? "explorer-macs" : "explorer-params" },
          ...(side ? [bar, text] : [text, bar]));
      });
      const line = element("div", { className: "explorer-bar" }, sides[0],
        element("b", { textContent: fixed[index][0] }), sides[1]);
      line.dataset.stage = fixed[index][0];
      return line;
    }));
  }

  function show(next) {
    shown = next;
    const isReleased = byKey.has(next.key);
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.value === next.key));
    }
    place.dataset.shown = next.key;
    controls.classList.toggle("at-released", isReleased);
    if (isReleased && next.phi !== null) slider.value = Math.round(next.phi * perPhi);
    value.textContent = isReleased ? "" : next.phi.toFixed(2);
    slider.setAttribute("aria-valuetext", next.name);
    cards.style.setProperty("--cards", next.cards.length);
    cards.replaceChildren(...next.cards.map(([heading, number, text]) =>
      element("div", {}, element("p", { textContent: heading }), element("b", { textContent: number }),
        element("p", { textContent: text }))));
    note.textContent = next.note;
    showTable();
    showBars();
  }

  // -------------------------------------------------------------- what a reader does

  const address = next => byKey.has(next.key) ? `#${next.name}` : `#${next.key}`;

  function choose(next) {
    show(next);
    history.replaceState(null, "", address(next));
  }

  function fromAddress() {
    const hash = location.hash.slice(1).toLowerCase();
    const phi = hash.match(/^phi=(\d+(?:\.\d*)?)$/);
    if (phi) return data.curve[Math.min(last, Math.round(Number(phi[1]) * perPhi))];
    return byKey.get(hash);
  }

  presets.addEventListener("click", event => {
    const next = byKey.get(event.target.value);
    if (next) choose(next);
  });
  slider.addEventListener("input", () => choose(data.curve[Number(slider.value)]));
  shares.addEventListener("change", showBars);
  window.addEventListener("hashchange", () => { const next = fromAddress(); if (next) show(next); });
  panes.addEventListener("pointerover", event => {
    const stage = event.target.closest("[data-stage]")?.dataset.stage;
    for (const line of panes.querySelectorAll("[data-stage]")) {
      line.classList.toggle("here", line.dataset.stage === stage);
    }
  });
  panes.addEventListener("pointerleave", () => {
    for (const line of panes.querySelectorAll(".here")) line.classList.remove("here");
  });
  show(fromAddress() ?? base);
}

const place = document.querySelector(".explorer");
if (place) explore(place, JSON.parse(document.getElementById("explorer-data").textContent));
