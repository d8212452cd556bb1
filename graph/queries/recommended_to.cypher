// title: To whom a product is recommended
// Which users does a run recommend a product to, and did they buy it already?
// $product Product: the product's id or title
// $run RECOMMENDED.run: the run
// $limit int = 50: at most this many
// example: product="Earl Grey" run=demo
MATCH (p:Product {product_id: $product})<-[r:RECOMMENDED {run: $run}]-(u:User)
OPTIONAL MATCH (u)-[w:BOUGHT]->(p)
RETURN u.user_id AS user, r.rank AS rank, r.score AS score, count(w) > 0 AS bought_already
ORDER BY rank, score DESC, user
LIMIT $limit
