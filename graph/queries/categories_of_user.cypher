// title: A user's categories
// Which categories does a user buy from, and for how much? Products that were only ever returned are left out;
// `lines` are purchases and returns, which the graph counts together, and `spend` is what they come to.
// $user User: the user
// $limit int = 50: at most this many
// example: user=ann
MATCH (u:User {user_id: $user})-[w:BOUGHT]->(p:Product)-[:IN_CATEGORY]->(c:Category)
WHERE coalesce(w.first_quantity, 1) > 0
RETURN c.category_id AS category, c.path AS path, count(p) AS products, sum(w.count) AS lines, sum(w.spend) AS spend,
       max(w.last_at) AS last_at
ORDER BY lines DESC, category
LIMIT $limit
