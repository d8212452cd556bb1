// title: Substitutes of a product
// What else is there of a product's category, when it is sold out? The most bought first; a lift below 1 says that people buy one or the other.
// $product Product: the product's id or title
// $limit int = 20: at most this many
// example: product="Green tea"
MATCH (q:Product {product_id: $product})-[:IN_CATEGORY]->(c:Category)<-[:IN_CATEGORY]-(p:Product)
WHERE p.product_id <> q.product_id
WITH q, p, min(c.path) AS category
OPTIONAL MATCH (p)<-[w:BOUGHT]-(:User)
WITH q, p, category, count(w) AS buyers
OPTIONAL MATCH (q)-[a:ALSO_BOUGHT]-(p)
WITH q, p, category, buyers, max(a.lift) AS lift
OPTIONAL MATCH (p)-[:MADE_BY]->(b:Brand)
RETURN p.product_id AS product, p.title AS title, min(b.name) AS brand, category, p.price - q.price AS price_difference,
       buyers, lift
ORDER BY buyers DESC, product
LIMIT $limit
