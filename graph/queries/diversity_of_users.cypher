// title: Diversity of each user's recommendations
// How many brands and categories are among what each user gets? The most alike first.
// $run RECOMMENDED.run: the run
// $limit int = 50: at most this many
// example: run=demo
MATCH (u:User)-[:RECOMMENDED {run: $run}]->(p:Product)
OPTIONAL MATCH (p)-[:MADE_BY]->(b:Brand)
OPTIONAL MATCH (p)-[:IN_CATEGORY]->(c:Category)
WITH u, count(DISTINCT p.product_id) AS recommended, count(DISTINCT b.brand_id) AS brands,
     count(DISTINCT c.category_id) AS categories
RETURN u.user_id AS user, recommended, brands, categories
ORDER BY 1.0 * (brands + categories) / recommended, user
LIMIT $limit
