// Receptive fields: the part of a photograph that a value depends on, after a block and at a place.
"use strict";

live("fields", (figure, data, chosen) => {
  const seen = data.sections[chosen.section], { side } = data;
  const image = figure.querySelector("image"), field = figure.querySelector("rect");
  const [[top, bottom], [left, right]] = [chosen.row, chosen.column].map(percent => {
    const start = seen.first + seen.step * Math.floor(percent * (seen.size - 1) / 100);
    return [start, start + seen.field];
  });
  field.setAttribute("x", Number(image.getAttribute("x")) + left);
  field.setAttribute("y", Number(image.getAttribute("y")) + top);
  field.setAttribute("width", seen.field);
  field.setAttribute("height", seen.field);
  const inside = (start, end) => Math.min(end, side) - Math.max(start, 0);
  const percent = Math.floor(100 * inside(top, bottom) * inside(left, right) / side ** 2);
  const share = percent === 100 ? "all" : percent ? `${percent} %` : "less than 1 %";
  say(figure, fill(data.said, { ...seen, share }));
  return { section: seen.name, row: `${chosen.row} %`, column: `${chosen.column} %` };
});
