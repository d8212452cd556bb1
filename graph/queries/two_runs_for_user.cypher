// title: Two runs for one user
// What do two runs recommend to the same user? Side by side, an empty rank where only the other run has it.
// $user User: the user
// $run RECOMMENDED.run: the run
// $other RECOMMENDED.run: the other run
// example: user=ann run=demo other=former
MATCH (u:User {user_id: $user})-[r:RECOMMENDED]->(p:Product)
WHERE r.run = $run OR r.run = $other
WITH p, min(CASE WHEN r.run = $run THEN r.rank END) AS rank, min(CASE WHEN r.run = $other THEN r.rank END) AS other_rank
RETURN p.product_id AS product, p.title AS title, rank, other_rank
ORDER BY coalesce(rank, 1000000), coalesce(other_rank, 1000000), product
