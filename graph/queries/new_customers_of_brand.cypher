// title: New customers for a brand
// To whom does a run recommend a brand that they never bought?
// $brand Brand: the brand's id or name
// $run RECOMMENDED.run: the run
// $limit int = 50: at most this many
// example: brand=Roastery run=demo
MATCH (b:Brand {brand_id: $brand})<-[:MADE_BY]-(p:Product)<-[r:RECOMMENDED {run: $run}]-(u:User)
WHERE NOT EXISTS { MATCH (u)-[:BOUGHT]->(:Product)-[:MADE_BY]->(b) }
RETURN u.user_id AS user, p.product_id AS product, p.title AS title, r.rank AS rank
ORDER BY rank, user, product
LIMIT $limit
