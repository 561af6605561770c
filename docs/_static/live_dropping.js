// Stochastic depth: which branches of which image a batch loses, and how many have been lost so far.
"use strict";

live("dropping", (figure, data, { batch }) => {
  const rows = [...figure.querySelectorAll("tbody tr")].slice(1);  // below the probabilities
  const [counted, expected] = figure.querySelectorAll("tfoot tr");
  const number = Number(batch), images = rows.length, shown = data.dropped[number - 1];
  rows.forEach((row, image) => {
    row.querySelectorAll("td").forEach((cell, column) => {
      const isDropped = shown[image].includes(column);
      cell.classList.toggle("dropped", isDropped);
      cell.textContent = isDropped ? "dropped" : data.kept[column];
    });
  });
  const soFar = data.dropped.slice(0, number).flat(2);
  const sum = numbers => numbers.reduce((a, b) => a + b, 0);
  data.rates.forEach((rate, column) => {
    counted.querySelectorAll("td")[column].textContent = soFar.filter(one => one === column).length;
    expected.querySelectorAll("td")[column].textContent = (number * images * rate).toFixed(1);
  });
  say(figure, fill(data.said, {
    batch,
    batches: data.dropped.length,
    dropped: shown.flat().length,
    draws: images * data.rates.length,
    so_far: soFar.length,
    expected: (number * images * sum(data.rates)).toFixed(1),
  }));
});

// After the last batch the first comes again.
for (const button of document.querySelectorAll('figure[data-live="dropping"] button[name=next]')) {
  button.addEventListener("click", () => {
    const { batch } = button.form.elements;
    batch.value = Number(batch.value) % Number(batch.max) + 1;
    batch.dispatchEvent(new Event("input", { bubbles: true }));
  });
}
