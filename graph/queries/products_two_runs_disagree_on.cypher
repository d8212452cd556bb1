// title: Products on which two runs disagree
// Which products does one run recommend to many more users than another? The largest difference first.
// $run RECOMMENDED.run: the run
// $other RECOMMENDED.run: the other run
// $limit int = 50: at most this many
// example: run=demo other=former
MATCH (:User)-[r:RECOMMENDED]->(p:Product)
WHERE r.run = $run OR r.run = $other
WITH p, r.run AS run, count(*) AS users
WITH p, sum(CASE WHEN run = $run THEN users ELSE 0 END) AS in_run, sum(CASE WHEN run = $other THEN users ELSE 0 END) AS in_other
WHERE in_run <> in_other
RETURN p.product_id AS product, p.title AS title, in_run, in_other, in_run - in_other AS difference
ORDER BY abs(in_run - in_other) DESC, product
LIMIT $limit
