// title: What people want of the service
// Which intents are there, how many examples has each, and what does its answer refer to?
// $limit int = 50: at most this many
// example:
MATCH (i:Intent)
OPTIONAL MATCH (i)<-[:HAS_INTENT]-(t:Utterance)
WITH i, count(t) AS utterances
OPTIONAL MATCH (i)<-[:HAS_INTENT]-(q:Question)
WITH i, utterances, count(q) AS questions
OPTIONAL MATCH (i)-[:ABOUT]->(p:Product)
RETURN i.intent_id AS intent, i.name AS name, utterances, questions, min(p.title) AS about
ORDER BY utterances + questions DESC, intent
LIMIT $limit
