// title: Sentiment by topic
// What is said of the shop, its goods or a company, by topic and sentiment?
// $limit int = 50: at most this many
// example:
MATCH (s:Statement)
WITH coalesce(s.topic, '') AS topic, coalesce(s.sentiment, '') AS sentiment, count(*) AS statements, max(s.at) AS latest
RETURN topic, sentiment, statements, latest
ORDER BY topic, sentiment
LIMIT $limit
