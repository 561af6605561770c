// Class activation maps: dark where a photograph has no evidence for the class that is chosen.
"use strict";

live("evidence", (figure, data, { photograph, rank }) => {
  const classes = data.evidence[photograph], found = classes[rank], svg = figure.querySelector("svg");
  const cells = found.cells.flat(), least = Math.min(...cells), most = Math.max(...cells);
  const image = svg.querySelector("image");
  image.setAttribute("href", image.getAttribute("href").replace(/[^/]+$/, `${photograph}.webp`));
  svg.querySelectorAll("rect").forEach((cell, number) => {
    const dark = data.darkest * (1 - Math.max(cells[number], 0) / most);
    cell.setAttribute("fill-opacity", dark.toFixed(2));
  });
  const title = `${data.names[photograph]}, bright where the evidence is for ${found.word}`;
  svg.setAttribute("aria-label", title);
  svg.querySelector("title").textContent = title;
  figure.querySelectorAll("input[name=rank] + span").forEach((label, number) => {
    label.textContent = classes[number].word;
  });
  say(figure, fill(data.said, {
    word: found.word,
    probability: found.probability.toFixed(2),
    logit: (cells.reduce((a, b) => a + b) / cells.length).toFixed(1),
    cells: cells.length,
    least: least.toFixed(1),
    most: most.toFixed(1),
  }));
});
