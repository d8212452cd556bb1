// title: What stands around a product
// What stands around a product: brand, categories, department, coupons, and what is bought with it.
// $product Product: the product's id or title
// $limit int = 50: at most this many coupons, and this many products bought with it
// example: product="Green tea"
MATCH (p:Product {product_id: $product})-[:MADE_BY]->(n:Brand)
RETURN 'MADE_BY' AS relationship, 'Brand' AS label, n.brand_id AS key, n.name AS name
UNION ALL
MATCH (p:Product {product_id: $product})-[:IN_CATEGORY]->(n:Category)
RETURN 'IN_CATEGORY' AS relationship, 'Category' AS label, n.category_id AS key, n.path AS name
UNION ALL
MATCH (p:Product {product_id: $product})-[:PART_OF]->(n:Department)
RETURN 'PART_OF' AS relationship, 'Department' AS label, n.department_id AS key, n.name AS name
UNION ALL
MATCH (p:Product {product_id: $product})<-[:`FOR`]-(n:Coupon)
WITH n ORDER BY n.coupon_id LIMIT $limit
RETURN 'FOR' AS relationship, 'Coupon' AS label, n.coupon_id AS key, n.coupon_id AS name
UNION ALL
MATCH (p:Product {product_id: $product})-[a:ALSO_BOUGHT]-(n:Product)
WITH n, a ORDER BY a.lift DESC, n.product_id LIMIT $limit
RETURN 'ALSO_BOUGHT' AS relationship, 'Product' AS label, n.product_id AS key, n.title AS name
