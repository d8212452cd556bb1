// title: What a run finds for a query
// Which products does a run find for a query, the best first, and which of them were clicked or judged to answer it?
// $query Query: the search's id or its text
// $run FOUND.run: the run
// $limit int = 20: at most this many
// example: query="black tea" run=finder
MATCH (q:Query {query_id: $query})-[f:FOUND {run: $run}]->(p:Product)
OPTIONAL MATCH (q)-[j:JUDGED]->(p)
OPTIONAL MATCH (q)-[k:CLICKED]->(p)
RETURN f.rank AS rank, p.product_id AS product, p.title AS title, f.score AS score, max(j.grade) AS grade, max(k.count) AS clicks
ORDER BY rank, product
LIMIT $limit
