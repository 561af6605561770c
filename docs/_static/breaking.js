// The box "Break it": questions made of the table that stands there without a script.
"use strict";

function made(tag, classes, ...children) {
  const element = document.createElement(tag);
  element.className = classes;
  element.append(...children);
  return element;
}

// A heading with buttons below it, of which one is pressed at most.
function step(number, title, texts, choose) {
  const head = made("p", "break-step", made("b", "", String(number)), " ", title);
  const group = made("div", "break-choices", head);
  head.id = `break-step-${number}`;
  group.setAttribute("role", "group");
  group.setAttribute("aria-labelledby", head.id);
  texts.forEach((text, index) => {
    const button = made("button", "", ...text);
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => { press(group, index); choose(index); });
    group.append(button);
  });
  return group;
}

function press(group, index) {
  group.querySelectorAll("button").forEach((button, number) => {
    button.setAttribute("aria-pressed", String(number === index));
  });
}

// The place of a value on a logarithmic scale from the first edge to the last, in percent.
function placeOf(value, edges) {
  const [low, high] = [edges[0], edges.at(-1)].map(Math.log);
  const place = (Math.log(value) - low) / (high - low);
  return 100 * Math.min(Math.max(place, 0), 1);
}

const plain = value => value.toLocaleString("en", { maximumFractionDigits: 9 });

// Below a ten-thousandth, digits would lie over one another.
const tickText = value => value < 1e-4 ? value.toExponential().replace("-", "\u2212") : plain(value);

function scaleOf({ edges, value }, guess) {
  const scale = made("div", "break-scale");
  const [from, to] = [edges[guess], edges[guess + 1]];
  const band = made("i", "break-band", made("span", "", "your guess"));
  band.style.left = `${placeOf(from, edges)}%`;
  band.style.width = `${placeOf(to, edges) - placeOf(from, edges)}%`;
  scale.append(band);
  for (const edge of edges) {
    const tick = made("span", "break-tick", tickText(edge));
    tick.style.left = `${placeOf(edge, edges)}%`;
    scale.append(tick);
  }
  const dot = made("i", "break-dot");
  dot.style.left = `${placeOf(value, edges)}%`;
  scale.append(dot);
  scale.setAttribute("role", "img");
  scale.setAttribute("aria-label", `A logarithmic scale from ${plain(edges[0])} to ${plain(edges.at(-1))}. `
    + `Your guess is from ${plain(from)} to ${plain(to)}, the measured value is ${value.toPrecision(2)}.`);
  return scale;
}

// Which answer is right: the edges between the five are the inner ones.
const rightAnswer = ({ edges, value }) => edges.slice(1, -1).filter(edge => value >= edge).length;

function verdict(mistake, guess) {
  const right = rightAnswer(mistake);
  if (guess === right) return "You guessed right.";
  return guess < right ? "It is more than you guessed." : "It is less than you guessed.";
}

function facts(mistake, caught) {
  const shows = is => is ? "shows it" : "does not show it";
  const list = made("dl", "");
  for (const [term, what] of [
    ["A check of shapes", [shows(mistake.shapes)]],
    ["Comparing untrained networks", [shows(mistake.untrained)]],
    ["Caught by", caught],
  ]) list.append(made("dt", "", term), made("dd", "", ...what));
  return list;
}

const copies = cell => [...(cell.querySelector("p") ?? cell).cloneNode(true).childNodes];

function playBreaking(box) {
  const mistakes = JSON.parse(box.querySelector("script").textContent);
  const cells = [...box.querySelectorAll("tbody tr")].map(row => [...row.cells]);
  const result = made("div", "break-result");
  result.setAttribute("aria-live", "polite");
  const columns = made("div", "break-columns");

  function choose(index) {
    const mistake = mistakes[index];
    const guesses = step(2, `Guess: ${mistake.question}`, mistake.answers.map(text => [text]),
      guess => tell(index, guess));
    columns.querySelector(".break-choices ~ .break-choices")?.remove();
    result.before(guesses);
    result.replaceChildren(made("p", "break-step", made("b", "", "3"), " See what was measured"));
  }

  function tell(index, guess) {
    const mistake = mistakes[index];
    const [, effect, , caught] = cells[index].map(copies);
    result.replaceChildren(
      made("p", "break-step", made("b", "", "3"), " Measured"),
      made("p", "break-effect", ...effect),
      scaleOf(mistake, guess),
      made("p", "break-verdict", verdict(mistake, guess)),
      facts(mistake, caught),
    );
  }

  // Of the first cell: a button has no link inside, so the name is text, and the sentence below it.
  const texts = cells.map(([cell]) => {
    const [name, ...told] = copies(cell);
    return [made("strong", "", name.textContent), ...told];
  });
  const choices = step(1, "Choose a mistake", texts, choose);
  columns.append(choices, result);
  box.classList.add("break-live");
  box.append(columns);
  press(choices, 0);
  choose(0);
}

document.querySelectorAll(".break").forEach(playBreaking);
