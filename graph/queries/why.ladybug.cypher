// title: Why this product
// The paths by which what a user did leads to a product: an event, then a fact that both products share, what goes
// together, or what was searched, shown or redeemed and leads there. `products` is how many products the path could
// have led to; `lift` is 1 but for what goes together. A rating counts above the middle of all ratings.
// $user User: the user
// $product Product: the product's id or title
// $each int = 100: of paths by facts, by what goes together and by what leads there, the latest, at most this many each
// example: user=ann product="Earl Grey"
OPTIONAL MATCH (:User)-[m:RATED]->(:Product)
WITH min(m.rating) AS low, max(m.rating) AS high
MATCH (u:User {user_id: $user})-[w:BOUGHT|VIEWED|ADDED|FAVORITED|SHARED|COMMENTED|RATED]->(p:Product)-[a:MADE_BY|IN_CATEGORY|PART_OF|MENTIONS]->(v),
      (v)<-[b:MADE_BY|IN_CATEGORY|PART_OF|MENTIONS]-(r:Product {product_id: $product})
WHERE p.product_id <> r.product_id AND coalesce(w.first_quantity, 1) > 0 AND (label(w) <> 'RATED' OR low IS NULL OR low = high OR 2 * w.rating > low + high) AND label(a) = label(b)
WITH v, label(w) AS event, p.product_id AS item, p.title AS item_name, coalesce(w.first_at, w.at) AS first_at, label(a) AS kind,
     coalesce(v.brand_id, v.category_id, v.attribute_id, v.department_id) AS via, coalesce(v.path, v.name) AS via_name
ORDER BY first_at DESC, item, event, kind, via LIMIT $each
RETURN event, item, item_name, first_at, kind, via, via_name,
       COUNT { MATCH (v)<-[c:MADE_BY|IN_CATEGORY|PART_OF|MENTIONS]-(:Product) WHERE label(c) = kind } AS products, 1.0 AS lift
// First the part that holds no column twice: the store lays out the others as it does the first.
UNION ALL
OPTIONAL MATCH (:User)-[m:RATED]->(:Product)
WITH min(m.rating) AS low, max(m.rating) AS high
MATCH (u:User {user_id: $user})-[w:BOUGHT|VIEWED|ADDED|FAVORITED|SHARED|COMMENTED|RATED]->(p:Product)-[a:ALSO_BOUGHT|VIEWED_TOGETHER]-(r:Product {product_id: $product})
WHERE p.product_id <> r.product_id AND coalesce(w.first_quantity, 1) > 0 AND (label(w) <> 'RATED' OR low IS NULL OR low = high OR 2 * w.rating > low + high)
WITH p, label(w) AS event, p.product_id AS item, p.title AS item_name, coalesce(w.first_at, w.at) AS first_at, label(a) AS kind,
     p.product_id AS via, p.title AS via_name, a.lift AS lift
ORDER BY first_at DESC, item, event, kind LIMIT $each
RETURN event, item, item_name, first_at, kind, via, via_name,
       COUNT { MATCH (p)-[c:ALSO_BOUGHT|VIEWED_TOGETHER]-(:Product) WHERE label(c) = kind } AS products, lift
UNION ALL
MATCH (u:User {user_id: $user})-[w:SAW|CLICKED|SEARCHED|REDEEMED]->(v)-[a:CLICKED|`FOR`]->(r:Product {product_id: $product})
WITH v, label(w) AS event, coalesce(v.query_id, v.ad_id, v.coupon_id) AS item,
     coalesce(v.text, v.title, v.coupon_id) AS item_name, coalesce(w.first_at, w.at) AS first_at, label(a) AS kind,
     coalesce(v.query_id, v.ad_id, v.coupon_id) AS via, coalesce(v.text, v.title, v.coupon_id) AS via_name
ORDER BY first_at DESC, event, kind, via LIMIT $each
RETURN event, item, item_name, first_at, kind, via, via_name,
       COUNT { MATCH (v)-[c:CLICKED|`FOR`]->(:Product) WHERE label(c) = kind } AS products, 1.0 AS lift
UNION ALL
OPTIONAL MATCH (:User)-[m:RATED]->(:Product)
WITH min(m.rating) AS low, max(m.rating) AS high
MATCH (u:User {user_id: $user})-[w:BOUGHT|VIEWED|ADDED|FAVORITED|SHARED|COMMENTED|RATED]->(p:Product {product_id: $product})
WHERE coalesce(w.first_quantity, 1) > 0 AND (label(w) <> 'RATED' OR low IS NULL OR low = high OR 2 * w.rating > low + high)
RETURN label(w) AS event, p.product_id AS item, p.title AS item_name, coalesce(w.first_at, w.at) AS first_at,
       label(w) AS kind, p.product_id AS via, p.title AS via_name, 1 AS products, 1.0 AS lift
