// Search results: pages before the library's reference.
var Scorer = {
  score: ([page, , , , score]) => (page.startsWith("book/library") ? score - 100 : score),
  objNameMatch: 11, objPartialMatch: 6,
  objPrio: {0: 15, 1: 5, 2: -5}, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
