// title: Runs
// The runs that wrote recommendations back, and how much each wrote.
// example:
MATCH (u:User)-[r:RECOMMENDED]->(p:Product)
RETURN r.run AS run, count(r) AS recommendations, count(DISTINCT u.user_id) AS users,
       count(DISTINCT p.product_id) AS products
ORDER BY run
