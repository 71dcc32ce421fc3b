"""Collaborative suppression and replenishment (CSR): the network of the paper, and the form for small budgets."""
