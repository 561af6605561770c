// The model explorer: shows what the page has computed, and computes nothing but lengths of bars.
"use strict";

const UNITS = [[1e9, "G"], [1e6, "M"], [1e3, "K"]];

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Three digits and a letter, as `short` of explored.py writes them: 5288548 is "5.29M".
function short(value) {
  for (const [size, letter] of UNITS) {
    if (value < size * 0.9995) continue;
    const digits = 2 - Math.floor(Math.log10(value / size / 0.9995));
    return (value / size + 1e-9).toFixed(Math.max(digits, 0)) + letter;
  }
  return String(value);
}

// A cell, which keeps its place among the columns where a narrow screen gives it another.
function cell(content, properties = {}) {
  const made = element("td", properties, ...[content].flat());
  made.setAttribute("role", "cell");
  return made;
}

function amount(value) {
  return cell(short(value), { title: value.toLocaleString("en") });
}

function table(className, heads, ...bodies) {
  const head = element("tr", {}, ...heads.map(text => element("th", { scope: "col", textContent: text })));
  const made = element("table", { className }, element("thead", {}, head), ...bodies);
  for (const part of made.querySelectorAll("tr")) part.setAttribute("role", "row");
  for (const part of made.querySelectorAll("th")) part.setAttribute("role", "columnheader");
  made.setAttribute("role", "table");
  return made;
}

// A button that opens what is in the element with the id `opens`.
function disclosure(id, opens, isOpen, text, label, onClick) {
  const button = element("button", { type: "button", className: "explorer-open", id, textContent: text });
  button.setAttribute("aria-label", label);
  button.setAttribute("aria-expanded", String(isOpen));
  button.setAttribute("aria-controls", opens);
  button.addEventListener("click", onClick);
  return button;
}

// The numbers as they are read from the page, with what is said several times put where it belongs.
function unpacked(data) {
  const text = number => data.texts[number];
  const network = (found, stages) => ({
    ...found,
    note: text(found.note),
    cards: found.cards.map(card => card.map(text)),
    stages: found.rows.map(([resolution, channels, layers, params, macs], index) => {
      const [number, operator, stride] = stages[index];
      const cells = [text(operator), text(resolution), String(channels), String(layers)];
      return { number, stride, cells, params, macs, blocks: found.blocks?.[index] ?? [] };
    }),
  });
  const released = data.released.map(found => network(found, found.stages));
  const curve = data.curve.map(found => ({
    ...network(found, data.released[0].stages),
    key: `phi=${found.phi}`,
    name: `φ = ${found.phi.toFixed(2)}`,
    family: released[0].family,
  }));
  const block = ([role, number, dropped, fields]) => {
    const [operator, channels, size, params, macs, sees, groups] = data.alike[number];
    return {
      role: text(role), operator: text(operator), channels: text(channels), size: text(size),
      params, macs, dropped, sees: fields[sees],
      groups: groups.map(([step, ...lines]) => ({
        id: data.steps[step][0],
        name: data.steps[step][1],
        operations: lines.map(([label, weights, change = 0, map = 0, cost = 0, field]) => ({
          label: text(label), params: weights, channels: text(change), size: text(map), macs: cost,
          sees: field === undefined ? undefined : fields[field],
        })),
      })),
    };
  };
  return { released, curve, block };
}

// The stages of two networks side by side: those of one stride together, and the last with the last.
function aligned(first, second) {
  if (!second) return first.stages.map(stage => [stage]);
  const bodies = [first, second].map(shown => shown.stages.slice(0, -1));
  const strides = [...new Set(bodies.flat().map(stage => stage.stride))].sort((a, b) => a - b);
  const lines = strides.flatMap(stride => {
    const [ours, theirs] = bodies.map(stages => stages.filter(stage => stage.stride === stride));
    const longer = ours.length > theirs.length ? ours : theirs;
    return longer.map((_, index) => [ours[index], theirs[index]]);
  });
  return [...lines, [first.stages.at(-1), second.stages.at(-1)]];
}

const sight = field => field === null ? "all" : `${field} px`;

function explore(place, data) {
  const { released, curve, block } = unpacked(data);
  const byKey = new Map(released.map(shown => [shown.key, shown]));
  const base = released[0];
  const last = curve.length - 1;
  const perPhi = Math.round(last / curve[last].phi);
  const isReleased = shown => byKey.has(shown.key);
  // What is shown: one network or two, of each the stage and the block that are open, or 0.
  let sides = [{ shown: base, stage: 0, block: 0 }];

  // -------------------------------------------------------------- what is on the page

  const families = [...new Set(released.map(shown => shown.family))];
  const ofFamily = family => released.filter(shown => shown.family === family);
  const buttons = new Map(released.map(shown => [shown.key,
    element("button", { type: "button", value: shown.key, textContent: shown.name })]));
  const presets = element("div", { className: "explorer-released" }, ...families.map(family => {
    const group = element("div", { className: "switch" },
      ...ofFamily(family).map(shown => buttons.get(shown.key)));
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", family);
    return group;
  }));
  const slider = element("input", {
    type: "range", id: "explorer-phi", min: 0, max: last, step: 1, value: 0,
  });
  slider.setAttribute("aria-label", "Compound coefficient phi");
  const value = element("output", { htmlFor: "explorer-phi" });
  const second = element("select", { id: "explorer-second" },
    element("option", { value: "", textContent: "no other" }),
    ...families.map(family => element("optgroup", { label: family }, ...ofFamily(family).map(shown =>
      element("option", { value: shown.key, textContent: shown.name })))));
  const shares = element("input", { type: "checkbox", id: "explorer-shares" });
  const controls = element("div", { className: "explorer-controls" }, presets,
    element("div", { className: "explorer-slider" },
      element("label", { htmlFor: "explorer-phi", textContent: "φ" }), slider, value),
    element("label", {}, "Compare with ", second),
    element("label", {}, shares, " share of the network"));

  const panes = element("div", { className: "explorer-sides" });
  panes.setAttribute("aria-live", "polite");
  const stages = place.querySelector("table");
  const columns = [...stages.tHead.rows[0].cells].map(head => head.textContent.trim());
  const coloured = element("p", { className: "explorer-remark" });
  place.prepend(controls, panes);
  place.append(coloured);

  // -------------------------------------------------------------- networks

  function pane({ shown }) {
    const cards = element("div", { className: "explorer-cards" }, ...shown.cards.map(
      ([heading, number, text]) => element("div", {}, element("p", { textContent: heading }),
        element("b", { textContent: number }), element("p", { textContent: text }))));
    cards.style.setProperty("--cards", shown.cards.length);
    const name = sides.length > 1 ? [element("h2", { textContent: shown.name })] : [];
    return element("section", {}, ...name, cards,
      element("p", { className: "explorer-note", textContent: shown.note }));
  }

  function showControls() {
    const [{ shown }] = sides;
    for (const [key, button] of buttons) button.setAttribute("aria-pressed", String(key === shown.key));
    controls.classList.toggle("at-released", isReleased(shown));
    if (shown.phi !== null) slider.value = Math.round(shown.phi * perPhi);
    value.textContent = isReleased(shown) ? "" : shown.phi.toFixed(2);
    slider.setAttribute("aria-valuetext", shown.name);
    second.value = sides[1]?.shown.key ?? "";
    place.dataset.shown = sides.map(side => side.shown.key).join("+");
  }

  // -------------------------------------------------------------- stages

  function bar(stage, shown, of) {
    const sum = shown.stages.reduce((total, other) => total + other[of], 0);
    const every = sides.flatMap(side => side.shown.stages.map(other => other[of]));
    const length = element("i");
    length.style.width = `${(100 * stage[of] / Math.max(...every)).toFixed(1)}%`;
    const share = `${(100 * stage[of] / sum).toFixed(1)} %`;
    const text = element("span", { textContent: shares.checked ? share : short(stage[of]) });
    return cell(element("div", { className: `explorer-bar explorer-${of}` }, text,
      element("div", {}, length)), { title: stage[of].toLocaleString("en") });
  }

  // The cells of a stage; `other` is the one beside it, or B0's, and what differs from it is marked.
  function stageCells(number, stage, other) {
    const { shown, stage: open } = sides[number];
    const isOpen = open === stage.number;
    const id = `${number}-${stage.number}`;
    const name = stage.blocks.length
      ? disclosure(`stage-${id}`, `blocks-${id}`, isOpen, stage.number,
        `Stage ${stage.number} of ${shown.name}`, () => openStage(number, isOpen ? 0 : stage.number))
      : String(stage.number);
    return [cell(name), ...stage.cells.map((text, column) => {
      const isMarked = other && text !== other.cells[column];
      return cell(text, { className: isMarked ? "changed" : "" });
    }), bar(stage, shown, "params"), bar(stage, shown, "macs")];
  }

  function isOfBase(shown) {
    return shown.stages.every((stage, index) => stage.cells[0] === base.stages[index]?.cells[0]);
  }

  function showStages() {
    const [first, other] = sides;
    const isCompared = Boolean(other);
    const hasBase = !isCompared && isOfBase(first.shown);
    place.classList.toggle("comparing", isCompared);
    coloured.replaceChildren(...(isCompared || hasBase ? [element("b", { textContent: "Coloured" }),
      isCompared ? ": not the same in the other network. Stages of one stride stand side by side. "
        : `: not as in ${base.name}. `] : []), "Resolution is that of a stage’s input.");
    const lines = aligned(first.shown, other?.shown).flatMap(pair => {
      const cells = pair.flatMap((stage, number) => stage
        ? stageCells(number, stage, isCompared ? pair[1 - number] : hasBase
          ? base.stages.find(found => found.number === stage.number) : undefined)
        : [cell("", { className: "explorer-none", colSpan: columns.length })]);
      mark(cells, pair);
      const line = element("tr", {}, ...cells);
      const opened = pair.map((stage, number) => stage && sides[number].stage === stage.number
        ? blocksOf(number, stage) : undefined);
      if (!opened.some(Boolean)) return [line];
      return [line, element("tr", { className: "explorer-detail" },
        ...opened.map((found, number) => cell(found ?? "", { colSpan: columns.length,
          className: number ? "explorer-second" : "" })))];
    });
    const names = isCompared ? [element("tr", {}, ...sides.map(({ shown }, number) =>
      element("th", { scope: "colgroup", colSpan: columns.length, textContent: shown.name,
        className: number ? "explorer-second" : "" })))] : [];
    stages.tHead.replaceChildren(...names, element("tr", {}, ...sides.flatMap((_, number) =>
      columns.map(text => element("th", { scope: "col", textContent: text,
        className: number ? "explorer-second" : "" })))));
    stages.tBodies[0].replaceChildren(...lines);
    for (const line of stages.querySelectorAll(":scope > * > tr")) line.setAttribute("role", "row");
    for (const head of stages.tHead.querySelectorAll("th")) head.setAttribute("role", "columnheader");
    stages.setAttribute("role", "table");
  }

  // The cells of the second network look different, as they stand below the first on a phone.
  function mark(cells, pair) {
    const firsts = pair[0] ? columns.length : 1;
    for (const part of cells.slice(firsts)) part.classList.add("explorer-second");
  }

  // -------------------------------------------------------------- blocks and operations

  function blocksOf(number, stage) {
    const opened = sides[number];
    const lines = stage.blocks.map(block).flatMap((found, index) => {
      const isOpen = opened.block === index + 1;
      const id = `${number}-${stage.number}-${index + 1}`;
      const name = `Block ${index + 1}`;
      const button = disclosure(`block-${id}`, `operations-${id}`, isOpen, name,
        `${name} of stage ${stage.number} of ${opened.shown.name}`,
        () => openBlock(number, stage, isOpen ? 0 : index + 1));
      const kind = found.operator === stage.cells[0] ? "" : ` ${found.operator}`;
      const line = element("tr", {}, cell([button, element("code", { textContent: found.role }), kind]),
        cell(found.channels), cell(found.size),
        cell(found.dropped === null ? "never" : String(found.dropped)),
        amount(found.params), amount(found.macs), cell(sight(found.sees)));
      if (!isOpen) return [line];
      return [line, element("tr", { className: "explorer-detail" },
        cell(operationsOf(found, `operations-${id}`), { colSpan: 7 }))];
    });
    const heads = ["Block", "Channels", "Map", "Dropped", "Params", "MACs", "Sees"];
    return element("div", { className: "explorer-blocks", id: `blocks-${number}-${stage.number}` },
      table("", heads, element("tbody", {}, ...lines)));
  }

  function operationsOf(found, id) {
    const heads = ["Operation", "Channels", "Map", "Params", "MACs", "Sees"];
    const bodies = found.groups.map(group => {
      const [, , ...cells] = document.getElementById(group.id).cells;
      const places = ["Specification", "PyTorch", "Keras"].map((name, index) => element("span", {},
        `${name}: `, ...[...cells[index].childNodes].map(node => node.cloneNode(true))));
      const title = element("th", { colSpan: heads.length, scope: "rowgroup" },
        element("b", { textContent: group.name }), ...places);
      return element("tbody", {}, element("tr", {}, title), ...group.operations.map(line =>
        element("tr", { className: line.channels ? "" : "explorer-plain" },
          cell(line.label), cell(line.channels), cell(line.size),
          line.params ? amount(line.params) : cell(""), line.macs ? amount(line.macs) : cell(""),
          cell(line.sees === undefined ? "" : sight(line.sees)))));
    });
    return element("div", { className: "explorer-operations", id }, table("", heads, ...bodies));
  }

  // -------------------------------------------------------------- what a reader does

  const path = ({ shown, stage, block }) =>
    shown.key + (stage ? `/stage-${stage}` : "") + (stage && block ? `/block-${block}` : "");

  function show(next) {
    sides = next;
    const focused = document.activeElement?.id;
    showControls();
    panes.replaceChildren(...sides.map(pane));
    showStages();
    if (focused) document.getElementById(focused)?.focus();
  }

  function choose(next) {
    show(next);
    history.replaceState(null, "", `#${sides.map(path).join("+")}`);
  }

  // A side of another network, with the same stage and block open if it has them.
  function turned({ stage, block }, shown) {
    const blocks = shown.stages.find(found => found.number === stage)?.blocks ?? [];
    return { shown, stage: blocks.length ? stage : 0, block: block <= blocks.length ? block : 0 };
  }

  // The side of a second network, in which what stands beside the first one's open block is open.
  function beside({ shown, stage, block }, other) {
    const [, found] = aligned(shown, other).find(([ours]) => ours?.number === stage) ?? [];
    return turned({ stage: found?.number ?? 0, block }, other);
  }

  function choosePair(first, other) {
    choose(other && other.shown.key !== first.shown.key ? [first, other] : [first]);
  }

  // The stage that stands beside one is opened with it.
  function openStage(number, opened) {
    const [line] = aligned(...sides.map(side => side.shown))
      .filter(pair => pair[number]?.number === (opened || sides[number].stage));
    choose(sides.map((side, index) => {
      if (index !== number && !line[index]?.blocks.length) return side;
      return { ...side, stage: opened && line[index].number, block: 0 };
    }));
  }

  function openBlock(number, stage, opened) {
    const [line] = aligned(...sides.map(side => side.shown)).filter(pair => pair[number] === stage);
    choose(sides.map((side, index) => {
      const isBeside = index === number || (line[index] && side.stage === line[index].number);
      return isBeside && opened <= line[index].blocks.length ? { ...side, block: opened } : side;
    }));
  }

  function ofPath(text) {
    const [, key, stage, block] = text.match(/^([^/]+)(?:\/stage-(\d+)(?:\/block-(\d+))?)?$/) ?? [];
    const phi = key?.match(/^phi=(\d+(?:\.\d*)?)$/);
    const shown = phi ? curve[Math.min(last, Math.round(Number(phi[1]) * perPhi))] : byKey.get(key);
    return shown && turned({ stage: Number(stage ?? 0), block: Number(block ?? 0) }, shown);
  }

  // What an address asks for; what the slider builds comes first, as the slider is the first one's.
  function fromAddress() {
    const asked = location.hash.slice(1).toLowerCase().replaceAll("%2b", "+").split("+");
    const found = asked.slice(0, 2).map(ofPath).filter(Boolean)
      .sort((one, two) => Number(isReleased(one.shown)) - Number(isReleased(two.shown)));
    return found.length > 1 && !isReleased(found[1].shown) || found[0]?.shown === found[1]?.shown
      ? found.slice(0, 1) : found;
  }

  function showAddress() {
    const found = fromAddress();
    if (!found.length) return;
    show(found);
    const opened = [...stages.querySelectorAll("[aria-expanded=true]")].at(-1);
    opened?.scrollIntoView({ block: "center" });
  }

  presets.addEventListener("click", event => {
    const next = byKey.get(event.target.value);
    if (next) choosePair(turned(sides[0], next), sides[1]);
  });
  slider.addEventListener("input", () =>
    choosePair(turned(sides[0], curve[Number(slider.value)]), sides[1]));
  second.addEventListener("change", () => {
    const next = byKey.get(second.value);
    choosePair(sides[0], next && beside(sides[0], next));
  });
  shares.addEventListener("change", showStages);
  window.addEventListener("hashchange", showAddress);
  show(sides);
  showAddress();
}

const place = document.querySelector(".explorer");
if (place) explore(place, JSON.parse(document.getElementById("explorer-data").textContent));
