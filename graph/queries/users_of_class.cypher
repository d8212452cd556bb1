// title: The users of a class
// Of which users does a run tell a class, the surest first?
// $class Class: the class, by its name or id
// $run PROFILED.run: the run
// $limit int = 50: at most this many
// example: class=calm run=profile
MATCH (u:User)-[t:PROFILED {run: $run}]->(c:Class {class_id: $class})
RETURN u.user_id AS user, t.property AS property, c.name AS class, t.probability AS probability
ORDER BY probability DESC, user
LIMIT $limit
