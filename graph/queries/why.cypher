// title: Why this product
// The typed paths from what a user bought to one product: the same brand, the same category, bought together.
// `products` is how many products the path could have led to; `lift` is 1 for facts.
// $user User: the user
// $product Product: the product's id or title
// $limit int = 100: the latest purchases of each kind, at most this many
// example: user=ann product="Earl Grey"
MATCH (u:User {user_id: $user})-[w:BOUGHT]->(p:Product)-[:MADE_BY]->(v:Brand)<-[:MADE_BY]-(r:Product {product_id: $product})
WHERE p.product_id <> r.product_id AND coalesce(w.first_quantity, 1) > 0
WITH p, w, v ORDER BY w.first_at DESC, p.product_id LIMIT $limit
RETURN 'MADE_BY' AS kind, p.product_id AS bought, p.title AS bought_title, w.first_at AS first_at,
       v.brand_id AS via, v.name AS via_name, COUNT { MATCH (v)<-[:MADE_BY]-(:Product) } AS products, 1.0 AS lift
UNION ALL
MATCH (u:User {user_id: $user})-[w:BOUGHT]->(p:Product)-[:IN_CATEGORY]->(v:Category)<-[:IN_CATEGORY]-(r:Product {product_id: $product})
WHERE p.product_id <> r.product_id AND coalesce(w.first_quantity, 1) > 0
WITH p, w, v ORDER BY w.first_at DESC, p.product_id LIMIT $limit
RETURN 'IN_CATEGORY' AS kind, p.product_id AS bought, p.title AS bought_title, w.first_at AS first_at,
       v.category_id AS via, v.path AS via_name, COUNT { MATCH (v)<-[:IN_CATEGORY]-(:Product) } AS products, 1.0 AS lift
UNION ALL
MATCH (u:User {user_id: $user})-[w:BOUGHT]->(p:Product)-[a:ALSO_BOUGHT]-(r:Product {product_id: $product})
WHERE p.product_id <> r.product_id AND coalesce(w.first_quantity, 1) > 0
WITH p, w, a ORDER BY w.first_at DESC, p.product_id LIMIT $limit
RETURN 'ALSO_BOUGHT' AS kind, p.product_id AS bought, p.title AS bought_title, w.first_at AS first_at,
       p.product_id AS via, p.title AS via_name, COUNT { MATCH (p)-[:ALSO_BOUGHT]-(:Product) } AS products, a.lift AS lift
