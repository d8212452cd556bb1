// title: What people search for
// What is typed into the search box, by how many, and how much of it leads to a click? Those without a click first.
// $limit int = 50: at most this many
// example:
MATCH (q:Query)
OPTIONAL MATCH (q)<-[s:SEARCHED]-(:User)
WITH q, count(s) AS searchers
OPTIONAL MATCH (q)-[k:CLICKED]->(:Product)
WITH q, searchers, count(k) AS clicked_products
RETURN q.query_id AS query, q.text AS text, searchers, clicked_products
ORDER BY CASE WHEN clicked_products = 0 THEN 0 ELSE 1 END, searchers DESC, query
LIMIT $limit
