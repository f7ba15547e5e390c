"""Pretraining of small encoders on open text: the miniature family."""
