// title: Products that lack facts
// Which products have no brand, category, title or price? The most bought first: these are worth mending.
// $limit int = 50: at most this many
// example:
MATCH (p:Product)
OPTIONAL MATCH (p)<-[w:BOUGHT]-(:User)
WITH p, count(w) AS buyers, EXISTS { MATCH (p)-[:MADE_BY]->(:Brand) } AS brand,
     EXISTS { MATCH (p)-[:IN_CATEGORY]->(:Category) } AS category
WHERE NOT brand OR NOT category OR p.title IS NULL OR p.price IS NULL
RETURN p.product_id AS product, p.title AS title, buyers, NOT brand AS no_brand, NOT category AS no_category,
       p.price IS NULL AS no_price
ORDER BY buyers DESC, product
LIMIT $limit
