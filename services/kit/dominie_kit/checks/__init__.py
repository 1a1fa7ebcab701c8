"""What is looked for in texts: personal data, secrets, words of deny lists, and what plug-ins find (decision 0034)."""
