"""Sphinx extensions that make this book's pages: the ledger's directives, and what the theme lacks."""
