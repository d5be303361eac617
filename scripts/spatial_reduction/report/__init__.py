"""Figures, the report page and the reporting sheet."""
