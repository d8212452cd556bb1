// title: Viewed and not bought
// Which products do people look at without buying them?
// $limit int = 50: at most this many
// example:
MATCH (p:Product)<-[v:VIEWED]-(u:User)
WITH p, count(v) AS viewers, sum(CASE WHEN EXISTS { MATCH (u)-[:BOUGHT]->(p) } THEN 1 ELSE 0 END) AS bought
RETURN p.product_id AS product, p.title AS title, viewers, bought, viewers - bought AS not_bought
ORDER BY not_bought DESC, product
LIMIT $limit
