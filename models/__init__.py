"""Estimators in river's API: numbers in, numbers out."""
