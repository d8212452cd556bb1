// title: Bridges between categories
// Which categories are bought together? By the pairs of their products that are bought together more often than by chance.
// $limit int = 20: at most this many
// example:
MATCH (c:Category)<-[:IN_CATEGORY]-(p:Product)-[a:ALSO_BOUGHT]-(q:Product)-[:IN_CATEGORY]->(d:Category)
WITH c, d, a.lift AS lift, a.support AS support
WHERE lift > 1 AND c.path < d.path
RETURN c.path AS category, d.path AS other, count(*) AS pairs, sum(support) AS support, max(lift) AS strongest_lift
ORDER BY pairs DESC, support DESC, category, other
LIMIT $limit
