// title: Runs, and how good each is
// Which runs wrote to the graph, for which task, up to which moment had they learned, and what did the student reach on the test, with its interval?
// `leads_to` counts the products, users or classes that its answers lead to.
// example:
MATCH (r:Run)
OPTIONAL MATCH (r)-[m:MADE]->()
RETURN r.run_id AS run, r.task AS task, r.cut AS cut, r.metric AS metric, r.value AS value, r.low AS low, r.high AS high,
       r.answers AS answers, count(m) AS leads_to
ORDER BY coalesce(task, '~'), run
