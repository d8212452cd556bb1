// title: Brands: share of recommendations, purchases and catalogue
// Does a run favour brands beyond what people buy and what the shop sells?
// `times_its_purchases` is 1 where a brand is recommended as often as it is bought; an event counts once for each user and product.
// $run RECOMMENDED.run: the run
// $limit int = 50: at most this many
// example: run=demo
MATCH (p:Product)
WITH count(p) AS products
OPTIONAL MATCH (:User)-[w:BOUGHT]->(:Product)
WITH products, count(w) AS pairs
OPTIONAL MATCH (:User)-[r:RECOMMENDED {run: $run}]->(:Product)
WITH products, pairs, count(r) AS recommendations
MATCH (g:Brand)<-[:MADE_BY]-(p:Product)
WITH products, pairs, recommendations, g, count(p) AS own
OPTIONAL MATCH (g)<-[:MADE_BY]-(:Product)<-[w:BOUGHT]-(:User)
WITH products, pairs, recommendations, g, own, count(w) AS bought
OPTIONAL MATCH (g)<-[:MADE_BY]-(:Product)<-[r:RECOMMENDED {run: $run}]-(:User)
WITH products, pairs, recommendations, g, own, bought, count(r) AS recommended
RETURN g.brand_id AS brand, g.name AS name, recommended,
       CASE WHEN recommendations > 0 THEN 1.0 * recommended / recommendations END AS of_recommendations,
       CASE WHEN pairs > 0 THEN 1.0 * bought / pairs END AS of_purchases,
       1.0 * own / products AS of_catalogue,
       CASE WHEN bought * recommendations > 0 THEN 1.0 * recommended * pairs / (1.0 * bought * recommendations) END AS times_its_purchases
ORDER BY recommended DESC, brand
LIMIT $limit
