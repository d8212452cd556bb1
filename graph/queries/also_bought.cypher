// What the buyers of a product also buy, the strongest first.
// $product string: the product's id
// $limit int = 20: at most this many
// example: product=1095275
MATCH (p:Product {product_id: $product})-[a:ALSO_BOUGHT]-(n:Product)
RETURN n.product_id AS product, n.title AS title, n.category_text AS category, a.support AS support, a.lift AS lift
ORDER BY lift DESC, product
LIMIT $limit
