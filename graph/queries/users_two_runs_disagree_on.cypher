// title: Users on whom two runs disagree
// To whom do two runs recommend different things? Those with the fewest products in common first.
// $run RECOMMENDED.run: the run
// $other RECOMMENDED.run: the other run
// $limit int = 50: at most this many
// example: run=demo other=former
MATCH (u:User)-[r:RECOMMENDED]->(p:Product)
WHERE r.run = $run OR r.run = $other
WITH u, p, max(CASE WHEN r.run = $run THEN 1 ELSE 0 END) AS one, max(CASE WHEN r.run = $other THEN 1 ELSE 0 END) AS two
WITH u, sum(one * two) AS in_both, sum(one * (1 - two)) AS only_in_run, sum(two * (1 - one)) AS only_in_other
RETURN u.user_id AS user, in_both, only_in_run, only_in_other,
       1.0 * in_both / (in_both + only_in_run + only_in_other) AS agreement
ORDER BY agreement, user
LIMIT $limit
