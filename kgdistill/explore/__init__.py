"""Write-back, saved queries, explanations and pictures."""
