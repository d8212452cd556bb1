// title: What a run tells of statements
// Which classes does a run tell of what people said, how often, how sure, and how much of it is what the source had said?
// $run CLASSIFIED.run: the run
// example: run=mood
MATCH (s:Statement)-[t:CLASSIFIED {run: $run}]->(c:Class)
RETURN t.property AS property, c.name AS class, count(s) AS statements, avg(t.probability) AS mean_probability,
       sum(CASE WHEN s.sentiment = c.name OR s.topic = c.name THEN 1 ELSE 0 END) AS as_the_source_said
ORDER BY property, statements DESC, class
