// title: A user's brands
// Which brands does a user buy, and for how much? Products that were only ever returned are left out;
// `lines` are purchases and returns, which the graph counts together, and `spend` is what they come to.
// $user User: the user
// $limit int = 50: at most this many
// example: user=ann
MATCH (u:User {user_id: $user})-[w:BOUGHT]->(p:Product)-[:MADE_BY]->(b:Brand)
WHERE coalesce(w.first_quantity, 1) > 0
RETURN b.brand_id AS brand, b.name AS name, count(p) AS products, sum(w.count) AS lines, sum(w.spend) AS spend,
       max(w.last_at) AS last_at
ORDER BY lines DESC, brand
LIMIT $limit
