"""Flood extent mapping: labels that water obeys, by hidden Markov trees over an elevation model."""
