// title: A user's categories
// Which categories does a user buy from, and for how much?
// $user User: the user
// $limit int = 50: at most this many
// example: user=ann
MATCH (u:User {user_id: $user})-[w:BOUGHT]->(p:Product)-[:IN_CATEGORY]->(c:Category)
RETURN c.category_id AS category, c.path AS path, count(p) AS products, sum(w.count) AS purchases, sum(w.spend) AS spend,
       max(w.last_at) AS last_at
ORDER BY purchases DESC, category
LIMIT $limit
