"""Costs of operators: measured where there is a record, predicted otherwise."""
