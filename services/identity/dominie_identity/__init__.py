"""Who is this, on whose behalf, and what may it do."""
