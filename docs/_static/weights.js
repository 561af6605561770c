// The page of published checkpoints: a box that leaves the rows that match, as `rosetta weights` does.
"use strict";

// The words of a text, in the one spelling of each.
function canonicalWords(text, known) {
  let spelt = text.toLowerCase();
  for (const [pattern, spelling] of known.spellings) {
    spelt = spelt.replace(new RegExp(pattern, "g"), spelling);
  }
  return (spelt.match(/[a-z0-9]+/g) ?? []).filter(word => !known.empty.includes(word));
}

// Whether a row is found by a word: it has it, or one that begins with it.
function isSaid(word, words, known) {
  const isLong = word.length >= known.shortestPrefix;
  return words.some(other => other === word || (isLong && other.startsWith(word)));
}

function searchWeights(place, known) {
  const rows = [...document.querySelectorAll("table.weights tr[data-words]")]
    .map(row => ({ row, words: row.dataset.words.split(" ") }));
  const commands = [...document.querySelectorAll(".weights-commands")]
    .map(block => ({ block, text: block.textContent }));

  const box = document.createElement("input");
  Object.assign(box, { type: "search", id: "weights-words", placeholder: "noisy student b4" });
  const label = document.createElement("label");
  Object.assign(label, { htmlFor: box.id, textContent: "Find checkpoints" });
  const count = document.createElement("p");
  count.setAttribute("role", "status");
  place.append(label, box, count);

  function show() {
    const asked = canonicalWords(box.value, known);
    const left = rows.filter(({ row, words }) => {
      row.hidden = !asked.every(word => isSaid(word, words, known));
      return !row.hidden;
    });
    for (const body of document.querySelectorAll("table.weights tbody")) {
      body.hidden = !body.querySelector("tr[data-words]:not([hidden])");
    }
    for (const table of document.querySelectorAll("table.weights")) {
      table.hidden = !table.querySelector("tbody:not([hidden])");
    }
    count.textContent = asked.length ? `${left.length} of ${rows.length} checkpoints` : "";
    nameCommands(asked.length > 0);
  }

  // The commands take the first row that is left, of their section and dialect.
  function nameCommands(isAsked) {
    for (const { block, text } of commands) {
      const row = isAsked && block.closest("section").querySelector(
        `tr[data-dialect="${block.dataset.dialect}"]:not([hidden])`);
      const name = row ? row.cells[0].textContent : "NAME";
      block.textContent = text.replaceAll("NAME", name);
    }
  }

  box.addEventListener("input", show);
}

const spellings = document.getElementById("weights-spellings");
const searchPlace = document.querySelector(".weights-search");
if (spellings && searchPlace) searchWeights(searchPlace, JSON.parse(spellings.textContent));
