// title: What answers a search
// Which products were clicked after a search, or judged to answer it?
// $query Query: the search's id or its text
// $limit int = 50: at most this many
// example: query="black tea"
MATCH (q:Query {query_id: $query})
MATCH (p:Product)
WHERE EXISTS { MATCH (q)-[:CLICKED]->(p) } OR EXISTS { MATCH (q)-[:JUDGED]->(p) }
OPTIONAL MATCH (q)-[j:JUDGED]->(p)
OPTIONAL MATCH (q)-[k:CLICKED]->(p)
RETURN p.product_id AS product, p.title AS title, max(j.grade) AS grade, max(j.verdict) AS verdict, max(k.count) AS clicks
ORDER BY coalesce(grade, -1.0) DESC, coalesce(clicks, 0) DESC, product
LIMIT $limit
