// title: The most recommended products
// The products that a run recommends to most users, beside how many bought them.
// $run RECOMMENDED.run: the run
// $limit int = 20: at most this many
// example: run=demo
MATCH (u:User)-[r:RECOMMENDED {run: $run}]->(p:Product)
WITH p, count(r) AS recommended
ORDER BY recommended DESC, p.product_id
LIMIT $limit
OPTIONAL MATCH (p)<-[w:BOUGHT]-(:User)
RETURN p.product_id AS product, p.title AS title, recommended, count(w) AS buyers
ORDER BY recommended DESC, product
