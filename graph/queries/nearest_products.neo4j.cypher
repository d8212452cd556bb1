// title: Nearest by vector, then by graph
// Which products lie nearest to one in a run's vectors, and what does the graph say of each pair: the same brand, the same category, bought together?
// $product Product: the product's id or title
// $run Embedding.run: the run whose vectors are compared
// $space Embedding.space = student: student or relational
// $limit int = 20: at most this many
// example: product="Green tea" run=demo
MATCH (e:Embedding {run: $run, space: $space, label: 'Product', node_key: $product})
WITH e, [x IN labels(e) WHERE x STARTS WITH 'Vectors_' AND 'Indexed' IN labels(e)] AS indexes
CALL (e, indexes) {
  UNWIND indexes AS index
  CALL db.index.vector.queryNodes(index, 4 * $limit + 10, e.vector) YIELD node
  RETURN node AS f
  UNION ALL
  WITH e, indexes
  WHERE size(indexes) = 0
  MATCH (f:Embedding {run: $run, space: $space, label: 'Product'})
  RETURN f
}
WITH e, f
WHERE f.node_key <> e.node_key
WITH f.node_key AS key, 2 * vector.similarity.cosine(e.vector, f.vector) - 1 AS cosine
ORDER BY cosine DESC, key
LIMIT $limit
MATCH (q:Product {product_id: $product}), (p:Product {product_id: key})
OPTIONAL MATCH (q)-[:MADE_BY]->(b:Brand)<-[:MADE_BY]-(p)
OPTIONAL MATCH (q)-[:IN_CATEGORY]->(c:Category)<-[:IN_CATEGORY]-(p)
OPTIONAL MATCH (q)-[a:ALSO_BOUGHT]-(p)
RETURN p.product_id AS product, p.title AS title, round(cosine, 6) AS cosine, min(b.name) AS same_brand,
       min(c.path) AS same_category, max(a.lift) AS lift
ORDER BY cosine DESC, product
