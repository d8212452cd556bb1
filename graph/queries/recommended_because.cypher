// title: A user's recommendations, each with the reason that was kept
// What did a run recommend to a user, why, was the product new, and what did the teacher think of it? As it was when the run wrote back.
// $user User: the user
// $run RECOMMENDED.run: the run
// $limit int = 20: at most this many
// example: user=ann run=demo
MATCH (u:User {user_id: $user})-[r:RECOMMENDED {run: $run}]->(p:Product)
RETURN r.rank AS rank, p.product_id AS product, p.title AS title, r.score AS score, r.teacher_score AS teacher_score,
       r.is_new AS is_new, r.reason AS reason, r.reason_kind AS reason_kind, r.reason_lift AS reason_lift
ORDER BY rank, product
LIMIT $limit
