// title: A user's recommendations
// What a run recommended to one user, the best first.
// $user User: the user
// $run RECOMMENDED.run: the run
// $limit int = 20: at most this many
// example: user=ann run=demo
MATCH (u:User {user_id: $user})-[r:RECOMMENDED {run: $run}]->(p:Product)
OPTIONAL MATCH (p)-[:MADE_BY]->(b:Brand)
RETURN r.rank AS rank, p.product_id AS product, p.title AS title, b.name AS brand,
       p.category_text AS category, r.score AS score
ORDER BY rank, product, brand
LIMIT $limit
