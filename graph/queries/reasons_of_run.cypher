// title: What a run's recommendations rest on
// Of which kind are the reasons that a run's recommendations carry, how strong are they, and how many carry none?
// $run RECOMMENDED.run: the run
// example: run=demo
MATCH (:User)-[r:RECOMMENDED {run: $run}]->(:Product)
WITH count(r) AS recommendations
MATCH (u:User)-[r:RECOMMENDED {run: $run}]->(p:Product)
WITH recommendations, coalesce(r.reason_kind, 'none') AS reason_kind, r, u, p
WITH recommendations, reason_kind, count(r) AS carried, count(DISTINCT u.user_id) AS users,
     count(DISTINCT p.product_id) AS products, avg(r.reason_lift) AS mean_lift
RETURN reason_kind, carried, 1.0 * carried / recommendations AS share, users, products, mean_lift
ORDER BY carried DESC, reason_kind
