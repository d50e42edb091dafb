"""Contrastive pretraining on emoji: their pictures and what they are called."""
