// What the reading room does on a page.  Without it everything is there, and nothing moves.
"use strict";

// ---------------------------------------------------------------- one framework, or both

const COLUMNS = { torch: "PyTorch", both: "Both", keras: "Keras" };

function remembered(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

function remember(key, value) {
  try { localStorage.setItem(key, value); } catch { /* a private window: not remembered */ }
}

function showColumns(choice) {
  document.documentElement.dataset.columns = choice;
  for (const button of document.querySelectorAll(".tri-heads .switch button")) {
    button.setAttribute("aria-pressed", String(button.value === choice));
  }
  reachScrollers();
}

function addSwitch(head) {
  const group = document.createElement("div");
  group.className = "switch";
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Programs to show");
  for (const [value, text] of Object.entries(COLUMNS)) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", value, textContent: text });
    button.addEventListener("click", () => { remember("columns", value); showColumns(value); });
    group.append(button);
  }
  head.append(group);
}

// ---------------------------------------------------------------- symbols

let pinned = null;

const symbolOf = element => [...element.classList].find(name => name.startsWith("con-"));

function light(symbol) {
  for (const lit of document.querySelectorAll(".con.lit")) lit.classList.remove("lit");
  if (symbol) for (const place of document.getElementsByClassName(symbol)) place.classList.add("lit");
}

function pin(symbol) {
  pinned = pinned === symbol ? null : symbol;
  for (const button of document.querySelectorAll(".con[role=button]")) {
    button.setAttribute("aria-pressed", String(symbolOf(button) === pinned));
  }
  light(pinned);
}

function addSymbols() {
  const near = event => event.target instanceof Element && event.target.closest(".con");
  for (const word of document.querySelectorAll("em.con, .tri-symbols .con")) {
    word.tabIndex = 0;
    word.setAttribute("role", "button");
    word.setAttribute("aria-pressed", "false");
  }
  document.addEventListener("pointerover", event => {
    if (event.pointerType === "touch") return;
    const place = near(event);
    light(place ? symbolOf(place) : pinned);
  });
  document.addEventListener("focusin", event => {
    const place = near(event);
    if (place) light(symbolOf(place));
  });
  document.addEventListener("focusout", () => light(pinned));
  document.addEventListener("click", event => {
    const place = near(event);
    if (place) pin(symbolOf(place));
  });
  document.addEventListener("keydown", event => {
    const place = near(event);
    if (event.key === "Escape" && pinned) pin(pinned);
    if (place && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      pin(symbolOf(place));
    }
  });
}

// ---------------------------------------------------------------- where the reader is

function addPosition(steps) {
  const links = new Map();
  for (const link of steps.querySelectorAll("a")) {
    const row = document.getElementById(decodeURIComponent(link.hash.slice(1)));
    if (row) links.set(row, link);
  }
  let here = null;
  function look() {
    const line = steps.getBoundingClientRect().bottom + window.innerHeight * 0.25;
    const atEnd = window.innerHeight + window.scrollY >= document.body.scrollHeight - 4;
    const rows = [...links.keys()];
    const above = rows.filter(row => row.getBoundingClientRect().top <= line);
    const row = atEnd ? rows.at(-1) : above.at(-1) ?? rows[0];
    if (row === here) return;
    here = row;
    for (const [other, link] of links) {
      other.classList.toggle("tri-here", other === row);
      if (other === row) link.setAttribute("aria-current", "step");
      else link.removeAttribute("aria-current");
    }
    const list = steps.querySelector("ol");
    const item = links.get(row).parentElement.parentElement;
    list.scrollTo({ left: item.offsetLeft - (list.clientWidth - item.clientWidth) / 2 });
  }
  document.addEventListener("scroll", look, { passive: true });
  window.addEventListener("resize", look);
  look();
}

// ---------------------------------------------------------------- keyboards and screen readers

function reachScrollers() {
  for (const box of document.querySelectorAll("pre, .table-wrapper, .math-block, .tri-flow ol, p:has(> img), article svg")) {
    const scroller = box.matches("svg") ? box.parentElement : box;
    if (scroller.scrollWidth > scroller.clientWidth) scroller.tabIndex = 0;
    else scroller.removeAttribute("tabindex");
  }
}

window.addEventListener("resize", reachScrollers);
window.addEventListener("load", reachScrollers);
for (const [place, label] of [[".sidebar-drawer", "Site"], [".toc-drawer", "This page"]]) {
  document.querySelector(place)?.setAttribute("aria-label", label);
}

for (const heads of document.querySelectorAll(".tri-heads")) addSwitch(heads);
const chosen = remembered("columns");
const atFirst = window.matchMedia("(max-width: 30em)").matches ? "torch" : "both";  // one on a phone
showColumns(chosen in COLUMNS ? chosen : atFirst);
if (document.querySelector(".con")) addSymbols();
for (const steps of document.querySelectorAll(".tri-steps")) addPosition(steps);
