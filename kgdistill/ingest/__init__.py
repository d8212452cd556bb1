"""Files and public data sets into the graph."""
