// title: How many recommendations have an explanation
// Of what a run recommends, for how much does the graph have a path from the user's purchases, and of which kind?
// $run RECOMMENDED.run: the run
// example: run=demo
MATCH (u:User)-[:RECOMMENDED {run: $run}]->(p:Product)
WITH EXISTS { MATCH (u)-[:BOUGHT]->(x:Product)-[:MADE_BY]->(:Brand)<-[:MADE_BY]-(p) WHERE x.product_id <> p.product_id } AS brand,
     EXISTS { MATCH (u)-[:BOUGHT]->(x:Product)-[:IN_CATEGORY]->(:Category)<-[:IN_CATEGORY]-(p) WHERE x.product_id <> p.product_id } AS category,
     EXISTS { MATCH (u)-[:BOUGHT]->(:Product)-[a:ALSO_BOUGHT]-(p) WHERE a.lift > 1 } AS together
RETURN count(*) AS recommendations,
       sum(CASE WHEN brand THEN 1 ELSE 0 END) AS by_brand,
       sum(CASE WHEN category THEN 1 ELSE 0 END) AS by_category,
       sum(CASE WHEN together THEN 1 ELSE 0 END) AS bought_together,
       sum(CASE WHEN brand OR category OR together THEN 0 ELSE 1 END) AS without
