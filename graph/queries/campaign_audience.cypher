// title: A campaign's audience
// Whom should a campaign reach, the likeliest to redeem first, and who of them received or redeemed it before?
// $campaign Campaign: the campaign
// $run TARGETED.run: the run
// $limit int = 50: at most this many
// example: campaign=spring run=target
MATCH (c:Campaign {campaign_id: $campaign})-[t:TARGETED {run: $run}]->(u:User)
RETURN t.rank AS rank, u.user_id AS user, t.score AS score,
       EXISTS { MATCH (u)-[:RECEIVED]->(c) } AS received,
       EXISTS { MATCH (u)-[:REDEEMED]->(:Coupon)-[:PART_OF]->(c) } AS redeemed
ORDER BY rank, user
LIMIT $limit
