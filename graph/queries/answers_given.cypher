// title: What a run answers
// Which answers does a run give to questions that nobody answered yet, the least sure first?
// $run ANSWERED.run: the run
// $limit int = 50: at most this many
// example: run=answer
MATCH (q:Question)-[a:ANSWERED {run: $run}]->(t:Answer)
RETURN q.question_id AS question, q.text AS asked, t.text AS answer, a.score AS score
ORDER BY score, question, answer
LIMIT $limit
