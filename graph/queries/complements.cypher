// title: Complements of a product
// What goes with a product? Bought together more often than by chance, and of another category.
// $product Product: the product's id or title
// $limit int = 20: at most this many
// example: product="Green tea"
MATCH (q:Product {product_id: $product})-[a:ALSO_BOUGHT]-(p:Product)
WHERE a.lift > 1 AND NOT EXISTS { MATCH (q)-[:IN_CATEGORY]->(:Category)<-[:IN_CATEGORY]-(p) }
RETURN p.product_id AS product, p.title AS title, p.category_text AS category, a.support AS support, a.lift AS lift
ORDER BY lift DESC, product
LIMIT $limit
