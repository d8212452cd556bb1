// title: Products of a category
// What stands in a category or in one below it, the most bought first?
// $category Category: the category's id or name
// $limit int = 50: at most this many
// example: category=Tea
MATCH (c:Category {category_id: $category})<-[:PART_OF*0..12]-(x:Category)<-[:IN_CATEGORY]-(p:Product)
WITH DISTINCT p
OPTIONAL MATCH (p)<-[w:BOUGHT]-(:User)
RETURN p.product_id AS product, p.title AS title, p.brand_text AS brand, p.price AS price, count(w) AS buyers
ORDER BY buyers DESC, product
LIMIT $limit
