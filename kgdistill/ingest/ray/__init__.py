"""Reading and mapping on several processes or machines."""
