// title: A user's brands
// Which brands does a user buy, and for how much?
// $user User: the user
// $limit int = 50: at most this many
// example: user=ann
MATCH (u:User {user_id: $user})-[w:BOUGHT]->(p:Product)-[:MADE_BY]->(b:Brand)
RETURN b.brand_id AS brand, b.name AS name, count(p) AS products, sum(w.count) AS purchases, sum(w.spend) AS spend,
       max(w.last_at) AS last_at
ORDER BY purchases DESC, brand
LIMIT $limit
