// title: Users who get only popular things
// To whom does a run recommend nothing but what many others buy?
// $run RECOMMENDED.run: the run
// $buyers int = 100: popular is what at least this many users bought
// $limit int = 50: at most this many
// example: run=demo buyers=2
MATCH (p:Product)<-[r:RECOMMENDED {run: $run}]-(:User)
WITH DISTINCT p
OPTIONAL MATCH (p)<-[w:BOUGHT]-(:User)
WITH p, count(w) AS buyers
MATCH (p)<-[r:RECOMMENDED {run: $run}]-(u:User)
WITH u, count(r) AS recommended, min(buyers) AS fewest_buyers
WHERE fewest_buyers >= $buyers
OPTIONAL MATCH (u)-[w:BOUGHT]->(:Product)
RETURN u.user_id AS user, recommended, fewest_buyers, count(w) AS bought
ORDER BY fewest_buyers DESC, user
LIMIT $limit
