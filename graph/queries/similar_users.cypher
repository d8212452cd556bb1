// title: Users who buy the same
// Who bought the most of what a user bought? `jaccard` is the products of both over those of either.
// $user User: the user
// $limit int = 20: at most this many
// example: user=ann
MATCH (u:User {user_id: $user})-[:BOUGHT]->(p:Product)
WITH u, count(p) AS own
MATCH (u)-[:BOUGHT]->(p:Product)<-[:BOUGHT]-(o:User)
WHERE o.user_id <> u.user_id
WITH own, o, count(p) AS in_common
MATCH (o)-[:BOUGHT]->(x:Product)
WITH own, o, in_common, count(x) AS others
RETURN o.user_id AS user, in_common, 1.0 * in_common / (own + others - in_common) AS jaccard
ORDER BY jaccard DESC, user
LIMIT $limit
