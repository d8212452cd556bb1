// title: Products of a brand
// What does a brand make, the most bought first?
// $brand Brand: the brand's id or name
// $limit int = 50: at most this many
// example: brand=Hillside
MATCH (b:Brand {brand_id: $brand})<-[:MADE_BY]-(p:Product)
OPTIONAL MATCH (p)<-[w:BOUGHT]-(:User)
RETURN p.product_id AS product, p.title AS title, p.category_text AS category, p.price AS price, count(w) AS buyers
ORDER BY buyers DESC, product
LIMIT $limit
