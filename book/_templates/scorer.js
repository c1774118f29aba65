// Search: what a page is about comes first (an index entry with "!"), then the glossary's two lines on it.
var Scorer = {
  score: ([page, , , , score]) => (page === "book/glossary" ? score - 1 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
