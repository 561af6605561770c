// Figures that a reader can change.  Without this a figure shows its first picture, and no controls.
"use strict";

// Draw a figure again whenever one of its controls changes.  `draw` is given the figure, its data and
// what is chosen, by the names of the controls, and may return what is to stand beside a slider.
function live(name, draw) {
  for (const figure of document.querySelectorAll(`figure[data-live="${name}"]`)) {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const form = figure.querySelector("form");
    const show = () => {
      const shown = draw(figure, data, Object.fromEntries(new FormData(form))) ?? {};
      for (const slider of form.querySelectorAll("input[type=range]")) {
        const text = shown[slider.name] ?? slider.value;
        slider.parentElement.querySelector("b").textContent = text;
        slider.setAttribute("aria-valuetext", text);
      }
    };
    form.addEventListener("input", show);
    form.addEventListener("submit", event => event.preventDefault());
    form.hidden = false;
    show();
  }
}

// A sentence with its values: fill("{a} of {b}", { a: 1, b: 2 }).
const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, key) => values[key]);

function say(place, words) {
  const box = place.querySelector(".live-said");
  if (box.textContent !== words) box.textContent = words;
}
