"""The pages on task-specific redundancy: what one run computes, its tables and its figures."""
