// title: Nearest by vector, then by graph
// Which products lie nearest to one in a run's vectors, and what does the graph say of each pair: the same brand, the same category, bought together?
// $product Product: the product's id or title
// $run Embedding.run: the run whose vectors are compared
// $space Embedding.space = student: student or relational
// $limit int = 20: at most this many
// example: product="Green tea" run=demo
MATCH (e:Embedding {run: $run, space: $space, label: 'Product', node_key: $product})
MATCH (f:Embedding {run: $run, space: $space, label: 'Product'})
WHERE f.node_key <> e.node_key
UNWIND range(1, size(e.vector)) AS i
WITH f.node_key AS key, sum(e.vector[i] * f.vector[i]) AS dot, sum(e.vector[i] * e.vector[i]) AS one, sum(f.vector[i] * f.vector[i]) AS two
WITH key, dot / sqrt(one * two) AS cosine
ORDER BY cosine DESC, key
LIMIT $limit
MATCH (q:Product {product_id: $product}), (p:Product {product_id: key})
OPTIONAL MATCH (q)-[:MADE_BY]->(b:Brand)<-[:MADE_BY]-(p)
OPTIONAL MATCH (q)-[:IN_CATEGORY]->(c:Category)<-[:IN_CATEGORY]-(p)
OPTIONAL MATCH (q)-[a:ALSO_BOUGHT]-(p)
RETURN p.product_id AS product, p.title AS title, round(cosine, 6) AS cosine, min(b.name) AS same_brand,
       min(c.path) AS same_category, max(a.lift) AS lift
ORDER BY cosine DESC, product
