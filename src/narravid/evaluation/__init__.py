"""Judging models: retrieval of clips by sentences and of sentences by clips."""
