// title: Why not that one
// Why is a product not among a user's recommendations? It stands, without a rank, beside those that are:
// what the user bought of its brand, its category and together with it, how many buy it, and whether the user has it already.
// $user User: the user
// $product Product: the product's id or title
// $run RECOMMENDED.run: the run
// example: user=ann product="Filter coffee" run=demo
MATCH (u:User {user_id: $user})
OPTIONAL MATCH (u)-[r:RECOMMENDED {run: $run}]->(x:Product)
WITH u, collect(x.product_id) AS recommended
MATCH (p:Product)
WHERE p.product_id = $product OR p.product_id IN recommended
WITH u, p
OPTIONAL MATCH (u)-[r:RECOMMENDED {run: $run}]->(p)
WITH u, p, r.rank AS rank, r.score AS score
OPTIONAL MATCH (p)<-[w:BOUGHT]-(o:User)
WITH u, p, rank, score, count(DISTINCT o.user_id) AS buyers,
     max(CASE WHEN o.user_id = u.user_id THEN 1 ELSE 0 END) AS has_it
OPTIONAL MATCH (p)-[:MADE_BY]->(:Brand)<-[:MADE_BY]-(x:Product)<-[:BOUGHT]-(u)
WHERE x.product_id <> p.product_id
WITH u, p, rank, score, buyers, has_it, count(DISTINCT x.product_id) AS of_the_brand
OPTIONAL MATCH (p)-[:IN_CATEGORY]->(:Category)<-[:IN_CATEGORY]-(x:Product)<-[:BOUGHT]-(u)
WHERE x.product_id <> p.product_id
WITH u, p, rank, score, buyers, has_it, of_the_brand, count(DISTINCT x.product_id) AS of_the_category
OPTIONAL MATCH (u)-[:BOUGHT]->(x:Product)-[a:ALSO_BOUGHT]-(p)
WHERE a.lift > 1
RETURN rank, p.product_id AS product, p.title AS title, score, has_it = 1 AS bought_already, buyers,
       of_the_brand, of_the_category, count(DISTINCT x.product_id) AS bought_together
ORDER BY coalesce(rank, 0), product
