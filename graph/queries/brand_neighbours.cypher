// title: Brands bought by the same users
// Which brands do a brand's buyers also buy? As `kgdistill derive` counted it.
// $brand Brand: the brand's id or name
// $limit int = 20: at most this many
// example: brand=Hillside
MATCH (b:Brand {brand_id: $brand})-[s:BRAND_SIMILAR]-(o:Brand)
RETURN o.brand_id AS brand, o.name AS name, s.support AS support, s.lift AS lift, s.jaccard AS jaccard
ORDER BY lift DESC, brand
LIMIT $limit
