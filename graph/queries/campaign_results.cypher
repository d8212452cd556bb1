// title: What campaigns brought
// How many users did each campaign reach, and how many of them redeemed a coupon?
// $limit int = 50: at most this many
// example:
MATCH (c:Campaign)
OPTIONAL MATCH (c)<-[:RECEIVED]-(u:User)
WITH c, count(DISTINCT u.user_id) AS received
OPTIONAL MATCH (c)<-[:PART_OF]-(k:Coupon)
WITH c, received, count(DISTINCT k.coupon_id) AS coupons
OPTIONAL MATCH (c)<-[:PART_OF]-(:Coupon)<-[r:REDEEMED]-(u:User)
RETURN c.campaign_id AS campaign, c.title AS title, c.start_at AS start_at, received, coupons,
       count(DISTINCT u.user_id) AS redeemed_by, count(r) AS redemptions
ORDER BY start_at DESC, campaign
LIMIT $limit
