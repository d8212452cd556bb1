// title: What a user bought
// What a user bought, the latest first.
// $user User: the user
// $limit int = 50: at most this many
// example: user=ann
MATCH (u:User {user_id: $user})-[w:BOUGHT]->(p:Product)
RETURN p.product_id AS product, p.title AS title, p.category_text AS category, w.first_at AS first_at,
       w.last_at AS last_at, w.count AS count, w.spend AS spend
ORDER BY last_at DESC, product
LIMIT $limit
