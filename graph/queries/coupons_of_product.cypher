// title: A product's coupons
// Which coupons are there for a product, of which campaigns, and how often were they redeemed?
// $product Product: the product's id or title
// $limit int = 50: at most this many
// example: product="Green tea"
MATCH (p:Product {product_id: $product})<-[:`FOR`]-(k:Coupon)
OPTIONAL MATCH (k)-[:PART_OF]->(c:Campaign)
OPTIONAL MATCH (k)<-[r:REDEEMED]-(:User)
RETURN k.coupon_id AS coupon, c.campaign_id AS campaign, c.start_at AS start_at, c.end_at AS end_at, count(r) AS redemptions
ORDER BY start_at DESC, coupon, campaign
LIMIT $limit
