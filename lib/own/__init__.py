"""The page on a reader's own model: what they give, the search for a smaller one, its tables."""
