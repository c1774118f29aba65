"""Sphinx extensions that make the book's pages: the ledger's directives, what the theme lacks."""
