// title: How much of a run is new to its users
// Of what a run recommends, how much did the user buy already, how much is of a brand or category the user knows, and how much is neither?
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
WITH CASE WHEN again THEN 'bought already' WHEN of_the_brand > 0 AND of_the_category > 0 THEN 'brand and category known'
          WHEN of_the_brand > 0 THEN 'brand known' WHEN of_the_category > 0 THEN 'category known' ELSE 'new' END AS kind
RETURN kind, count(*) AS recommendations
ORDER BY recommendations DESC, kind
