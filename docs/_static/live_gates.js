// Gates: a channel's map of a photograph, before its gate and after it, and the gates of all channels.
"use strict";

live("gates", (figure, data, { photograph, channel }) => {
  const number = Number(channel), gates = data.gates[photograph], [height, width] = data.size;
  const left = number % data.across * width, top = Math.floor(number / data.across) * height;
  const maps = figure.querySelectorAll(".live-maps > div");
  for (const [index, map] of maps.entries()) {
    const svg = map.querySelector("svg"), image = map.querySelector("image");
    svg.setAttribute("viewBox", `${left} ${top} ${width} ${height}`);
    image.setAttribute("href", image.getAttribute("href").replace(/[^/]+$/, `${photograph}-maps.webp`));
    if (index === 1) {
      image.setAttribute("opacity", gates[number]);
      map.querySelector("span").textContent = `times ${gates[number].toFixed(2)}`;
    }
    svg.setAttribute("aria-label", `a map, ${map.querySelector("span").textContent}`);
  }
  figure.querySelectorAll(".live-still > svg rect").forEach((bar, index) => {
    bar.setAttribute("y", data.high * (1 - gates[index]));
    bar.setAttribute("height", data.high * gates[index]);
    bar.setAttribute("class", index === number ? "chosen" : "filled");
  });
  const each = Object.entries(data.names).map(([key, name]) => `${data.gates[key][number].toFixed(2)} on ${name}`);
  const last = each.pop();
  say(figure, fill(data.said, { channel, gates: `${each.join(", ")} and ${last}` }));
});
