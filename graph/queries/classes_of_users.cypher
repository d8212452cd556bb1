// title: What a run tells of users
// How many users does a run tell each class of, and how sure is it? What is sensitive is told here only where that was allowed.
// $run PROFILED.run: the run
// example: run=profile
MATCH (u:User)-[t:PROFILED {run: $run}]->(c:Class)
RETURN t.property AS property, c.name AS class, c.sensitive AS sensitive, count(u) AS users,
       avg(t.probability) AS mean_probability, min(t.probability) AS least_probability
ORDER BY property, users DESC, class
