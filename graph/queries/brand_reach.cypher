// title: How far a brand reaches
// How far a brand reaches: its products, who buys them, and how often a run recommends them.
// $brand Brand: the brand's id or name
// $run RECOMMENDED.run: the run
// example: brand=Hillside run=demo
MATCH (b:Brand {brand_id: $brand})
OPTIONAL MATCH (b)<-[:MADE_BY]-(p:Product)
WITH b, count(p) AS products
OPTIONAL MATCH (b)<-[:MADE_BY]-(:Product)<-[w:BOUGHT]-(u:User)
WITH b, products, count(DISTINCT u.user_id) AS buyers, count(w) AS pairs, sum(w.spend) AS spend
OPTIONAL MATCH (b)<-[:MADE_BY]-(:Product)<-[r:RECOMMENDED {run: $run}]-(x:User)
RETURN b.brand_id AS brand, b.name AS name, products, buyers, pairs, spend,
       count(r) AS recommendations, count(DISTINCT x.user_id) AS reached
