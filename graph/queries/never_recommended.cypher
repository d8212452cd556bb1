// title: Products never recommended
// Which products that people buy does a run recommend to nobody? The most bought first.
// $run RECOMMENDED.run: the run
// $limit int = 50: at most this many
// example: run=former
MATCH (p:Product)<-[w:BOUGHT]-(:User)
WHERE NOT EXISTS { MATCH (p)<-[r:RECOMMENDED]-(:User) WHERE r.run = $run }
RETURN p.product_id AS product, p.title AS title, p.category_text AS category, count(w) AS buyers
ORDER BY buyers DESC, product
LIMIT $limit
