"""The pages on dropping blocks: what one run computes, its tables and its figures."""
