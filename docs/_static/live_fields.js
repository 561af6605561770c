// Receptive fields: the part of a photograph that a value depends on, after a block and at a place.
"use strict";

live("fields", (figure, data, chosen) => {
  const seen = data.sections[chosen.section], { side } = data;
  const image = figure.querySelector("image"), fields = figure.querySelectorAll("rect");
  const x = Number(image.getAttribute("x")), y = Number(image.getAttribute("y"));
  const [[top, bottom], [left, right]] = [chosen.row, chosen.column].map(percent => {
    const start = seen.first + seen.step * Math.floor(percent * (seen.size - 1) / 100);
    return [start, start + seen.field];
  });
  for (const field of fields) {
    const place = { x: x + left, y: y + top, width: seen.field, height: seen.field };
    for (const [name, value] of Object.entries(place)) field.setAttribute(name, value);
  }
  const inside = edge => Math.min(Math.max(edge, 0), side);
  const high = inside(bottom) - inside(top), wide = inside(right) - inside(left);
  figure.querySelector("path").setAttribute("d", `M${x} ${y}h${side}v${side}h-${side}z`
    + `M${x + inside(left)} ${y + inside(top)}v${high}h${wide}v-${high}z`);
  const percent = Math.floor(100 * high * wide / side ** 2);
  const share = percent === 100 ? "all" : percent ? `${percent} %` : "less than 1 %";
  say(figure, fill(data.said, { ...seen, share }));
  return { section: seen.name, row: `${chosen.row} %`, column: `${chosen.column} %` };
});
