"""Training: the loop, losses, lists, targets, teacher, student, tuning of text."""
