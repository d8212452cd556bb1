// title: What is bought again
// Which products do their buyers come back for? Who only ever returned one is no buyer, nor comes back who was given
// back all that was paid; one who returned a part counts as coming back, as the graph keeps no quantity of later lines.
// $buyers int = 1: only products with at least this many buyers
// $limit int = 50: at most this many
// example: buyers=2
MATCH (p:Product)<-[w:BOUGHT]-(:User)
WHERE coalesce(w.first_quantity, 1) > 0
WITH p, count(w) AS buyers,
     sum(CASE WHEN w.last_at > w.first_at AND coalesce(w.spend, 1.0) > 0 THEN 1 ELSE 0 END) AS came_back
WHERE buyers >= $buyers
RETURN p.product_id AS product, p.title AS title, buyers, came_back, 1.0 * came_back / buyers AS share
ORDER BY share DESC, buyers DESC, product
LIMIT $limit
