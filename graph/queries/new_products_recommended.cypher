// title: New products that a run recommends
// Which products that were new at the cut does a run recommend, to how many, how high, and with how many reasons?
// $run RECOMMENDED.run: the run
// $limit int = 50: at most this many
// example: run=demo
MATCH (:User)-[r:RECOMMENDED {run: $run}]->(p:Product)
WHERE r.is_new
RETURN p.product_id AS product, p.title AS title, count(r) AS recommended, min(r.rank) AS best_rank, count(r.reason) AS with_a_reason
ORDER BY recommended DESC, product
LIMIT $limit
