/* What the search shows first.  Sphinx reads this in place of its own weights.
 *
 * A page that explains something comes before the reference that is made from docstrings, and what a
 * word is entered for (docs/_ext/finding.py) before a page that has the word somewhere.
 */
"use strict";

var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,

  score: ([page, , , , score, , kind]) => {
    if (kind === "object" || page.startsWith("reference/api/")) return score - 100;
    if (page === "reference/glossary" && kind === "index") return score - 20;
    return score;
  },
};
