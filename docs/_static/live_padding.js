// Padding: draws what docs/_ext/live/padding.py draws, for the size, kernel and stride that are chosen.
"use strict";

live("padding", (figure, data, chosen) => {
  const [n, k, s] = [chosen.n, chosen.k, chosen.s].map(Number);
  const cell = 18, column = 358;
  const lanes = Math.ceil(k / s), high = 28 + cell + 9 * lanes + 48;
  const at = value => value.toFixed(1);
  const text = (x, y, anchor, kind, words) =>
    `<text x="${at(x)}" y="${at(y)}"${kind && ` class="${kind}"`} text-anchor="${anchor}">${words}</text>`;
  const box = (x, y, kind) =>
    `<rect x="${at(x)}" y="${at(y)}" width="${at(cell)}" height="${at(cell)}" class="${kind}"/>`;

  function windows(size, [before, after]) {
    const found = [];
    for (let first = -before; first + k <= size + after; first += s) found.push(first);
    return found;
  }

  function strip(size, zeros, [framework, name], top) {
    const [before, after] = zeros, firsts = windows(size, zeros);
    const last = firsts.at(-1) + k - 1, origin = 6 + cell * (k - 1) / 2;
    const below = top + 28 + cell + 9 * lanes;
    const value = pixel => pixel >= 0 && pixel < size ? pixel + 1 : 0;
    let drawn = text(4, top + 16, "start", framework, name)
      + text(column - 4, top + 16, "end", "quiet", `zeros ${before} | ${after}`);
    for (let pixel = -before; pixel < size + after; pixel++) {
      const x = origin + cell * pixel;
      drawn += box(x, top + 28, value(pixel) ? "pixel" : pixel <= last ? "zero" : "unread")
        + text(x + cell / 2, top + 28 + 13.5, "middle", "", value(pixel));
    }
    firsts.forEach((first, number) => {
      const left = origin + cell * first + 2, right = origin + cell * (first + k) - 2;
      const y = top + 28 + cell + 9 * (number % lanes) + 7, middle = (left + right) / 2;
      const sum = Array.from({ length: k }, (_, step) => value(first + step)).reduce((a, b) => a + b);
      const line = [[left, y - 4], [left, y], [right, y], [right, y - 4]];
      drawn += `<polyline points="${line.map(point => point.map(at).join(",")).join(" ")}" class="of-${framework}"/>`
        + `<circle cx="${at(middle)}" cy="${at(y)}" r="2.6" class="dot-${framework}"/>`
        + box(middle - cell / 2, below + 8, "frame")
        + text(middle, below + 21.5, "middle", framework, sum);
    });
    return drawn + text(column - 4, below + 21.5, "end", "quiet", "outputs");
  }

  [n, n + 1].forEach((size, number) => {
    const part = figure.querySelectorAll(".live-part")[number], svg = part.querySelector("svg");
    const zeros = data.zeros[`${size} ${k} ${s}`];
    const shift = zeros[0][0] - zeros[1][0];
    const words = fill(shift ? data.apart : data.same, { shift, outputs: windows(size, zeros[0]).length });
    const title = `${size} pixels, a window of ${k}, a stride of ${s}. ${words}`;
    svg.setAttribute("viewBox", `0 0 ${column} ${2 * high}`);
    svg.setAttribute("aria-label", title);
    svg.innerHTML = `<title>${title}</title>`
      + zeros.map((pair, rule) => strip(size, pair, data.rules[rule], rule * high)).join("");
    part.querySelector(".live-title").textContent = `${size} pixels`;
    part.dataset.same = String(!shift);
    say(part, words);
  });
  return { n: `${n} and ${n + 1}` };
});
