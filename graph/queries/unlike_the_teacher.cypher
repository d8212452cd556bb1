// title: Where the student goes its own way
// Which products does a run recommend that stood in none of its teacher's lists for these users? The most often first.
// $run RECOMMENDED.run: the run
// $limit int = 50: at most this many
// example: run=demo
MATCH (:User)-[r:RECOMMENDED {run: $run}]->(p:Product)
WITH p, count(r) AS recommended, count(r.teacher_score) AS in_the_teachers_list
WHERE in_the_teachers_list < recommended
RETURN p.product_id AS product, p.title AS title, recommended, in_the_teachers_list,
       recommended - in_the_teachers_list AS own
ORDER BY own DESC, product
LIMIT $limit
