// title: Exposure by popularity
// How do recommendations spread over best-sellers and the long tail, beside purchases?
// $run RECOMMENDED.run: the run
// example: run=demo
MATCH (p:Product)
OPTIONAL MATCH (p)<-[w:BOUGHT]-(:User)
WITH p, count(w) AS buyers
OPTIONAL MATCH (p)<-[r:RECOMMENDED {run: $run}]-(:User)
WITH p, buyers, count(r) AS recommended
WITH buyers, recommended, CASE WHEN buyers = 0 THEN 'nobody' WHEN buyers < 3 THEN '1 to 2' WHEN buyers < 10 THEN '3 to 9'
     WHEN buyers < 30 THEN '10 to 29' WHEN buyers < 100 THEN '30 to 99' ELSE '100 and more' END AS bought_by
RETURN bought_by, count(*) AS products, sum(CASE WHEN recommended > 0 THEN 1 ELSE 0 END) AS recommended_products,
       sum(buyers) AS purchases, sum(recommended) AS recommendations, min(buyers) AS fewest_buyers
ORDER BY fewest_buyers
