// title: Cold products that are recommended
// Which products does a run recommend although hardly anybody bought them?
// $run RECOMMENDED.run: the run
// $buyers int = 0: cold is what at most this many users bought
// $limit int = 50: at most this many
// example: run=demo
MATCH (p:Product)<-[r:RECOMMENDED {run: $run}]-(:User)
WITH p, count(r) AS recommended, min(r.rank) AS best_rank
OPTIONAL MATCH (p)<-[w:BOUGHT]-(:User)
WITH p, recommended, best_rank, count(w) AS buyers
WHERE buyers <= $buyers
RETURN p.product_id AS product, p.title AS title, buyers, recommended, best_rank
ORDER BY recommended DESC, product
LIMIT $limit
