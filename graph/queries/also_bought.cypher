// title: Bought together with a product
// What the buyers of a product also buy, the strongest first.
// $product Product: the product's id or title
// $limit int = 20: at most this many
// example: product="Green tea"
MATCH (p:Product {product_id: $product})-[a:ALSO_BOUGHT]-(n:Product)
RETURN n.product_id AS product, n.title AS title, n.category_text AS category, a.support AS support, a.lift AS lift
ORDER BY lift DESC, product
LIMIT $limit
