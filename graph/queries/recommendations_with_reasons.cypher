// title: A user's recommendations with their reasons
// What is recommended to one user, and what in the user's own purchases speaks for it?
// How many products of the same brand and category were bought, how many that are bought together with it, and the strongest lift among these.
// $user User: the user
// $run RECOMMENDED.run: the run
// $limit int = 20: at most this many
// example: user=ann run=demo
MATCH (u:User {user_id: $user})-[r:RECOMMENDED {run: $run}]->(p:Product)
WITH u, r.rank AS rank, r.score AS score, p
ORDER BY rank, p.product_id
LIMIT $limit
OPTIONAL MATCH (p)-[:MADE_BY]->(b:Brand)
OPTIONAL MATCH (b)<-[:MADE_BY]-(x:Product)<-[w:BOUGHT]-(u)
WHERE x.product_id <> p.product_id AND coalesce(w.first_quantity, 1) > 0
WITH u, rank, score, p, min(b.name) AS brand, count(DISTINCT x.product_id) AS of_the_brand
OPTIONAL MATCH (p)-[:IN_CATEGORY]->(:Category)<-[:IN_CATEGORY]-(x:Product)<-[w:BOUGHT]-(u)
WHERE x.product_id <> p.product_id AND coalesce(w.first_quantity, 1) > 0
WITH u, rank, score, p, brand, of_the_brand, count(DISTINCT x.product_id) AS of_the_category
OPTIONAL MATCH (u)-[w:BOUGHT]->(x:Product)-[a:ALSO_BOUGHT]-(p)
WHERE a.lift > 1 AND coalesce(w.first_quantity, 1) > 0
RETURN rank, p.product_id AS product, p.title AS title, score, brand, of_the_brand, p.category_text AS category,
       of_the_category, count(DISTINCT x.product_id) AS bought_together, max(a.lift) AS strongest_lift
ORDER BY rank, product
