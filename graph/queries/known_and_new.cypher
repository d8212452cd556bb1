// title: How much of a run is new to its users
// Of what a run recommends, how much did the user buy already, how much is of a brand or category the user knows, and how much is neither?
// $run RECOMMENDED.run: the run
// example: run=demo
MATCH (u:User)-[:RECOMMENDED {run: $run}]->(p:Product)
WITH EXISTS { MATCH (u)-[:BOUGHT]->(p) } AS again,
     EXISTS { MATCH (u)-[:BOUGHT]->(:Product)-[:MADE_BY]->(:Brand)<-[:MADE_BY]-(p) } AS brand,
     EXISTS { MATCH (u)-[:BOUGHT]->(:Product)-[:IN_CATEGORY]->(:Category)<-[:IN_CATEGORY]-(p) } AS category
WITH CASE WHEN again THEN 'bought already'
          WHEN brand AND category THEN 'brand and category known'
          WHEN brand THEN 'brand known' WHEN category THEN 'category known' ELSE 'new' END AS kind
RETURN kind, count(*) AS recommendations
ORDER BY recommendations DESC, kind
