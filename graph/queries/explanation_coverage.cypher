// title: How many recommendations have an explanation
// Of what a run recommends, how much did the user buy already, and to how much of the rest does the graph have a path from the user's purchases, of which kind?
// $run RECOMMENDED.run: the run
// example: run=demo
MATCH (u:User)-[:RECOMMENDED {run: $run}]->(p:Product)
WITH u, p, EXISTS { MATCH (u)-[:BOUGHT]->(p) } AS again
OPTIONAL MATCH (p)-[:MADE_BY]->(b:Brand)
OPTIONAL MATCH (u)-[:BOUGHT]->(x:Product)-[:MADE_BY]->(b)
WITH u, p, again, count(x) AS of_the_brand
OPTIONAL MATCH (p)-[:IN_CATEGORY]->(c:Category)
OPTIONAL MATCH (u)-[:BOUGHT]->(x:Product)-[:IN_CATEGORY]->(c)
WITH u, p, again, of_the_brand, count(x) AS of_the_category
OPTIONAL MATCH (u)-[:BOUGHT]->(x:Product)-[a:ALSO_BOUGHT]-(p)
WITH u, p, again, of_the_brand, of_the_category, max(a.lift) AS lift
WITH CASE WHEN again THEN 0 ELSE 1 END AS new, CASE WHEN of_the_brand > 0 THEN 1 ELSE 0 END AS brand,
     CASE WHEN of_the_category > 0 THEN 1 ELSE 0 END AS category, CASE WHEN lift > 1 THEN 1 ELSE 0 END AS together
RETURN count(*) AS recommendations, sum(1 - new) AS bought_already, sum(new * brand) AS by_brand,
       sum(new * category) AS by_category, sum(new * together) AS bought_together,
       sum(new * (1 - brand) * (1 - category) * (1 - together)) AS without
