"""What only the notebooks of chapter 7 need: arrangements, peers, tables, figures."""
